"""Somebody's own package: plugins of six kinds that evoprune finds by their entry points."""
