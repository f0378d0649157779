"""The command line: one thin file a command; errors become one line each and an exit code."""

from textcl.cli.app import main

__all__ = ["main"]
