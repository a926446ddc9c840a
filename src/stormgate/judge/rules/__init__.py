"""The rules of validity: whether the measurement itself can be trusted."""
