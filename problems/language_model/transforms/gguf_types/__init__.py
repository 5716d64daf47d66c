"""A type of GGUF for each matrix, as a transform."""
