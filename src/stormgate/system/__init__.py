"""Processes that die with their parent, files written durably. Knows nothing of ours."""
