"""Pure: what the lab consists of and how it decides."""
