"""Rollout: vLLM engines, the pool that spreads prompts over them, and the collection of a batch."""
