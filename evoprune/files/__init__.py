"""Files written atomically, JSON, and the cache on disk."""
