"""Somebody's own package: a transform, a budget and a problem that evoprune finds by their entry points."""
