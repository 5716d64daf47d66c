"""The cut in depth: removes the attention or the MLP of a block, or the whole block."""
