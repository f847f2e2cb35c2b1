"""What makers of a release need once: input check, calibration, style names, pair search."""
