"""Intervals and tests over problems and seeds, majority votes, and how unequally weights lie on tokens."""
