"""Writing a run's folder, and reading it again."""
