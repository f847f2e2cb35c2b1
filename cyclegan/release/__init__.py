"""What makers of a release need once: the input check, calibration, style names, pairs found."""
