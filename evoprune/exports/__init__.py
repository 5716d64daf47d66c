"""Export of results, to a folder or a file, and after recovery."""
