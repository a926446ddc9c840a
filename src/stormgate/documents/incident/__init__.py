"""The form of an incident document."""
