"""One objective kind per file, each with a KIND (judge/registry.py finds them; docs/statistics.md
explains them).
"""
