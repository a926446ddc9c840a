"""Keys on a ring of shards that splits while it is used."""
