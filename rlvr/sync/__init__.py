"""Weights from the learner to the rollout engines, through vLLM's weight-transfer API."""
