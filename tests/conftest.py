"""The same examples in every run, however busy the machine: a draw that finds something new is not
what decides whether a change may land. To look for more: `pytest --hypothesis-profile=default`.
"""

from hypothesis import settings

settings.register_profile("stormgate", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("stormgate")
