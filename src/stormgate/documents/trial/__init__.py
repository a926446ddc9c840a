"""One experiment held against what it calls, what it breaks, and what Chaos Toolkit takes."""
