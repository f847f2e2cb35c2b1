"""What training reads: slices decoded once, cached, framed, stripped, listed."""
