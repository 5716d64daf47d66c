"""Scores: how much each weight matters. A file each."""
