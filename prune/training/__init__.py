"""Settings, loss, training step, loop and schedule."""
