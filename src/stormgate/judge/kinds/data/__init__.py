"""Kinds that are judged on operations: what users did to data, and what was read back."""
