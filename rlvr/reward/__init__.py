"""Verifiable rewards: verifiers in workers that can be killed, and rewards from verdicts and lengths."""
