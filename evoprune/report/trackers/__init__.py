"""Hand a run's history to tools that people track experiments with: a module for each."""
