"""The pages, each one HTML file: what stands on them, as records and tables of text for the templates."""
