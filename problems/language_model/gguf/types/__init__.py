"""The transform ``types``: a GGUF type for each matrix."""
