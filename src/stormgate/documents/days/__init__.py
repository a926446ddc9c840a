"""Game days: the document of one, and how it is read."""
