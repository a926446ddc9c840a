"""Kinds about caches and what they spare, and about where keys are."""
