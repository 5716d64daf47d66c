"""Runs a search: the toolbox, scoring, progress, and resuming."""
