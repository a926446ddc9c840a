"""`stormgate reproduce`: a failed run, or an incident, again on this machine."""
