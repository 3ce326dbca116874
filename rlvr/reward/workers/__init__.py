"""Grading in processes that can be killed: the pool, its chunks, and what runs on either side of the pipes."""
