"""The optimisation: settings, losses, stages, state, many processes."""
