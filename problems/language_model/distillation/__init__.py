"""Recovers a smaller model: trains it towards the predictions of the dense model."""
