"""What the lab says of itself: metrics, alerts, traces. Only where it is asked for."""
