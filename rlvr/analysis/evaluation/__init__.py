"""An evaluation on disk: its parts while it runs, and the file and the responses that it leaves behind."""
