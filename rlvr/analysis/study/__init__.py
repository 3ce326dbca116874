"""A study: several trainings and their analyses as one list of pieces, each of which answers questions."""
