"""Somebody's own package: plugins of seven kinds that evoprune finds by their entry points."""
