"""The command ``prune``: makes an experiment for a person's own model of a goal, a text and a time."""
