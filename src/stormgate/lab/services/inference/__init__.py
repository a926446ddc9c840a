"""The assistant: a router in each service, and the model servers it asks."""
