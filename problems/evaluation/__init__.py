"""Measures a model on a text, and turns its loss into fitness."""
