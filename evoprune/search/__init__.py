"""Carries out a search: the toolbox, breeding, scoring, watching, going on after a stop."""
