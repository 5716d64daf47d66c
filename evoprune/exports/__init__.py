"""Export of results: to a folder or file, also after recovery."""
