"""Advantages: one number per sample from its group, then one number per token from the plug-in."""
