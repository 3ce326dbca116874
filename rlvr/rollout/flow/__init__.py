"""Batches from engines that generate all the time (`rollout.staleness` > 0)."""
