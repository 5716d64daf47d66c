"""The text that scores a model: reading it, and cutting it into windows."""
