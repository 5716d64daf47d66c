"""The bundled 12-block GPT-2: its training text, its training, its weights."""
