"""Files written atomically, JSON, and locks."""
