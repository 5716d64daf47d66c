"""Files of the format GGUF, and the runtime that reads them, llama.cpp."""
