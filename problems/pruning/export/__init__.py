"""Writes a pruned model for other tools, and checks what was written in a process of its own."""
