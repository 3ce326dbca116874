"""The policy as a module of torch: loading it, adapting it, and forward passes that spare memory."""
