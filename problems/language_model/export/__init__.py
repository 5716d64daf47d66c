"""Writes a pruned model for other tools, and checks the files in a new process."""
