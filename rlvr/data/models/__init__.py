"""Models before they are loaded: where they lie, what tells one from another, and their tokenizers."""
