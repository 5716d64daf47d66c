"""Fronts: one experiment at several limits, each result a measured export; and what exports do not beat each other."""
