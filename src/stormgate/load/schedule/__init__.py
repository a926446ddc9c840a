"""Pure: when each stream asks, from a seed."""
