"""Recovers a smaller model: trains it to predict what its dense model predicts."""
