"""Faults of the edges: who is let in, and what is kept."""
