"""Several runs in one command: which jobs, what each needs, and running them side by side."""
