"""Break, prove, undo, restore: the engine of faults. Knows no Chaos Toolkit."""
