"""The language model: loading it, finding its blocks, and running it."""
