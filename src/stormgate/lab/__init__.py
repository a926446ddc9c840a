"""The embedded reference system: a small real CHE·NU on loopback, whose truth is known. See
docs/lab.md.
"""
