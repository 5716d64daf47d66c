"""Cuts that make sublayers narrower: what channels and heads share."""
