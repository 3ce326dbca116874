"""rlvr: reinforcement learning with verifiable rewards that shows, and weights, the tokens that matter."""

__version__ = "0.1.0"
