"""Faults by hand, and load with them: who keeps them, the phases they make, the run around them."""
