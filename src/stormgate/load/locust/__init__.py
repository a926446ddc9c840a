"""What ties the engine to Locust: users, workers, the master, its statistics."""
