"""What a run will take, from its configuration alone: memory by process, seconds by phase, and what would help."""
