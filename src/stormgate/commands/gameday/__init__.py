"""Commands of a game day: faults by hand, load beside them, and a day as a script."""
