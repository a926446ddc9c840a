"""An incident again, on this machine: what happened when as a schedule, played, judged, taken apart
to its cause.
"""
