"""Pure numbers: bounds, proportions, quantiles. Knows no evidence."""
