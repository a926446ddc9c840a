"""Stormgate decides whether a release may ship: load, faults, evidence, verdict."""

__version__ = "0.1.0"
