"""Verifiable rewards: one grader for training and evaluation, killable workers, overlong shaping."""
