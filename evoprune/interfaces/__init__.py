"""Interfaces of plugins: problems with genes, budgets and optional parts; algorithms; planners."""
