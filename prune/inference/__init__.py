"""A photograph in, logits or a class map out, on any runtime."""
