"""Measurements of textcl, one file a question, and the maker of the demo's data."""
