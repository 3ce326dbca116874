"""What a run goes on from: checkpoints, finished groups that none covers, and the order of its batches."""
