"""The report page: one file, offline, readable without its script."""
