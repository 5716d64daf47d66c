"""Transforms that cut parts of a model, one in each folder."""
