"""Playing a schedule: on time, changed in place, kept standing, taken back whatever happens."""
