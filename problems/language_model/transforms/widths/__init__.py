"""Transforms that make sublayers narrower, by whole units: heads of attentions, channels of MLPs."""
