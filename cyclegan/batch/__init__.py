"""Many series, on one machine or on a cluster: searched for, translated, and counted."""
