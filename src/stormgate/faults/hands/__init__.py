"""Faults by hand: the order to halt, what is open on this machine, and asking whoever broke it."""
