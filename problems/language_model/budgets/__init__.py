"""Budgets, one in each file.

A budget is a function ``budget(transform, *, ...)`` that returns an :class:`evoprune.Budget` over the transform's
genes; its keyword parameters are the user's. Registered under ``evoprune.budgets``.
"""
