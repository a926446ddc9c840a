"""Taking away whatever does not matter, until the cause is left: pure, given something that can be
asked whether a case still fails.
"""
