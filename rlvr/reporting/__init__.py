"""Reports: what a folder holds (sources), its figures, its token pages and the pages of HTML around them."""
