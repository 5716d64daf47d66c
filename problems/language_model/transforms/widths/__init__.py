"""Transforms that remove units of sublayers: heads of attentions, channels of MLPs."""
