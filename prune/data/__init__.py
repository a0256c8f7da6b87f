"""From files on disk to samples a network can learn from."""
