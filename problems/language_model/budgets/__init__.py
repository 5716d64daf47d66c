"""Budgets, one in each file.

A budget is a function ``budget(transform, *, ...)`` that returns an :class:`evoprune.Budget` over the transform's
genes; its keyword parameters are the user's. Registered under ``evoprune.budgets``.

One that needs facts of the machine has an attribute ``measure``, ``measure(transform, *, ...)``, that returns them,
JSON-able; they are its second argument, positional only, empty where nothing was measured.
"""
