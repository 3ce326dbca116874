"""Statistics of verdicts: intervals, paired comparisons, majority votes."""
