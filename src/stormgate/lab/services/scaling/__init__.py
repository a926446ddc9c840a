"""A region's service as several instances, started and ended with the load."""
