"""Pruning a language model: how much of each layer can it lose?"""

from problems.pruning.problem import Pruning

__all__ = ["Pruning"]
