"""Kinds about how it is run: what it costs, which of two ways is better, what it says of itself."""
