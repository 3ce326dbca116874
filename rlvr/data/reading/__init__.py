"""Rows of data sets: which files hold them, and what a cell of a row says."""
