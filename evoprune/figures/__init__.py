"""Figures in one style, and those of a search."""
