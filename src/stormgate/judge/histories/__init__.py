"""What users did to data, and what was read back: facts about histories, without a verdict."""
