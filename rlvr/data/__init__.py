"""Problems to train and evaluate on: the built-in arithmetic task and mathematics data sets."""
