"""Any file or drop of files becomes a `Volume`, or one sentence."""
