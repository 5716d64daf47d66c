"""Reads texts, and cuts them into windows of tokens."""
