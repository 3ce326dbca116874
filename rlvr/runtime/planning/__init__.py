"""What a run will take, from configurations alone (its own, its model's): memory, seconds, and what would help."""
