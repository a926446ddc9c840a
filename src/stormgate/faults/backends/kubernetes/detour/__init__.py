"""A Service's traffic led through a Toxiproxy of ours in the cluster."""
