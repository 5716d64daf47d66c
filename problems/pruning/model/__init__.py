"""The language model: loading it, and finding its blocks."""
