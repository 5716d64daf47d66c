"""Cut, recover and quantise a language model under one limit."""

from problems.compression.problem import Compression

__all__ = ["Compression"]
