"""What a run keeps in its folder, each file with the one module that writes and reads it."""
