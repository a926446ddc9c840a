"""Measured series: read from files and from Prometheus, and turned into the fewest steps that say
the same within a stated error.
"""
