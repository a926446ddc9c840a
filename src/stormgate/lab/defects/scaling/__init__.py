"""Defects of how instances are started and ended."""
