"""Numbers → one HTML file with charts and tables."""
