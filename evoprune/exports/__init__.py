"""Export of results: to a folder or file, to the Hugging Face hub, and after recovery."""
