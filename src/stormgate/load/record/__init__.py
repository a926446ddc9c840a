"""What the load saw and did, in columns, on its way into the run folder."""
