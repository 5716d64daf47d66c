"""Tests of .gguf files need the packages that write and run them."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("gguf") and find_spec("llama_cpp_py_sync") else ["test_*.py"]
