"""Mutation: one individual in, a tuple of one out, changed in place."""
