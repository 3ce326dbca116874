"""Cross-sampling: responses that one model writes and another may switch into, token by token."""
