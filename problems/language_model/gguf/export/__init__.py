"""Exports a model as a .gguf file, and compares the file with others in llama.cpp."""
