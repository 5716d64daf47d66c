"""Budgets: limits on a cost of the smaller model.

A budget is a function ``budget(transform, *, ...)`` that returns an :class:`evoprune.Budget` over the transform's
genes; its keyword parameters are the user's. Registered under ``evoprune.budgets``.

One that needs facts of the machine is a class, a :class:`problems.budgets.base.MeasuredBudget`, whose fields are the
user's parameters. The returned budget may be a :class:`problems.budgets.base.ReportedBudget`, which adds to the result.
"""

BUDGETS = "evoprune.budgets"  # the group of entry points
