"""Unstructured pruning: from sparsities to a masked model."""
