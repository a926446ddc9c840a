"""Traffic mixes as documents, and targets whose populations are those of a mix."""
