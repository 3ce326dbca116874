"""What a single token is worth: another is put in its place, a model goes on from there, the verifier judges."""
