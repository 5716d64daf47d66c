"""Who breeds: ``select(individuals, k)`` returns k parents."""
