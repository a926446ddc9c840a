"""What violates a gate's objectives on its target: planned from what the target's backends can do,
written as an experiment, put in the place of the gate's own faults. Pure but for that one file.
"""
