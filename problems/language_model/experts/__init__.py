"""The transform ``experts``: fewer experts in the mixtures of a model."""
