"""What violates an objective, and whether users met it: for gates that are proved."""
