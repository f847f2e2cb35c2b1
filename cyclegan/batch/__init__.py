"""Many series, on one machine or on a cluster: found, translated, and accounted for."""
