"""A jail for programs that a model wrote: one process each, without network, children or files of others."""
