"""What a sweep found: reading its runs, comparing conditions, and the tables of the report."""
