"""Starting the lab, watching over it, and leaving nothing behind."""
