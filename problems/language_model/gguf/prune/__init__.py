"""The part of the command ``prune`` that makes .gguf files."""
