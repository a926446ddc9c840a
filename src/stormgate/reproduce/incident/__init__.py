"""An incident as a person writes it, and what becomes of it: a schedule, and what that lacks."""
