"""Starting rlvr on a cluster: `python -m launch.slurm`."""
