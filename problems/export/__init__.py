"""Writes a pruned model for other tools, and checks the files in a new process."""

FORMATS = "evoprune.export_formats"  # the group of entry points; a format is named by the suffix of its files
