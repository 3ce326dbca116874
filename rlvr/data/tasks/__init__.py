"""The built-in tasks, whose problems are made rather than read, and the models that ship with them."""
