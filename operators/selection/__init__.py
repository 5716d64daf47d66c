"""Selection: ``select(individuals, k)`` returns k parents."""
