"""The HTML report of a run: figures, tables and pages of coloured tokens in one file."""
