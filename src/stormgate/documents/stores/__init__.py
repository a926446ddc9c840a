"""The stores of a target document."""
