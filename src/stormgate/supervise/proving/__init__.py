"""A gate is shown violations of its objectives, and what it said is kept for the runs after it."""
