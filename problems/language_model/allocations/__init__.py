"""Allocations without search.

An allocation is a function ``allocation(cut, budget, loss)`` that returns a sparsity for each group of ``cut`` (a
:class:`evoprune.problems.language_model.transforms.weights.transform.Weights`), within the bounds of its genes and on
the ``budget``. ``loss(genome, share)`` measures a genome on a share of the search text, in nats per token.
"""

ALLOCATIONS = "evoprune.allocations"  # the group of entry points
