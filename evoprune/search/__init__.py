"""Runs a search: the toolbox, scoring, early stopping, progress, and resuming."""
