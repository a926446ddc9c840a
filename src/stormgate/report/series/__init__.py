"""Evidence folded into what the page draws, in one pass over the samples."""
