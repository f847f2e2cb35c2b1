"""Networks, scaling and framing, detail from the source, weights on disk and on the Hub."""
