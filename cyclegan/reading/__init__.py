"""Any file or drop of files becomes a `Volume`, or one error message."""
