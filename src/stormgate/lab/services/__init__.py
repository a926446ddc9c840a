"""What the lab's processes do for users."""
