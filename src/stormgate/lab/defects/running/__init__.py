"""Defects of the assistant, of deploys, and of what the lab says of itself."""
