"""Allocations without search, references for one: a file each.

An allocation is a function of an :class:`problems.pruning.evaluation.evaluator.Evaluator`. It returns a
sparsity for each of its groups, within the settings' bounds and on the budget in weights.
"""
