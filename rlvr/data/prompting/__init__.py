"""How a question becomes the tokens that a model continues."""
