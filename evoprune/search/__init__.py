"""Carries out a search: breeding, scoring, watching, going on after a stop."""
