"""Commands over runs that are over: they read a run folder and start nothing."""
