"""Whoever moves the bytes: the seam, and the transport in Python that stands behind it."""
