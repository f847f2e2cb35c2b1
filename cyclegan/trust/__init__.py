"""Is the input what the model expects, how far to trust one slice, and what that is worth."""
