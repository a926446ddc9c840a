"""What is done inside a pod's container, by a command that the API server runs there."""
