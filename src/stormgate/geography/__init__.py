"""Places, distances, traffic mixes and day curves: where users are, and how far light has to travel
to them.
"""
