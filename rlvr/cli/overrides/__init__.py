"""What may stand on a command line, and the configuration that it composes; mistakes are named in our words."""
