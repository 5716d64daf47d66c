"""The training text of the bundled GPT-2: the language reference, and docstrings.

A paragraph that shares a run of :data:`OVERLAP_WORDS` words with the held-out text is left out, because docstrings
quote the reference.
"""

from __future__ import annotations

import ast
import importlib.util
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from problems.texts.source import KEY_WORDS, paragraphs, python_docs, split_of, words

OVERLAP_WORDS = KEY_WORDS
PACKAGES = ("numpy", "matplotlib", "networkx", "sympy", "pandas", "torch", "deap")  # those that are installed
REFERENCE_COPIES = 4  # it is short beside the docstrings, and the model is made for text like it


def word_runs(text: str, length: int = OVERLAP_WORDS) -> set[tuple[str, ...]]:
    """Return all runs of ``length`` successive words of ``text``."""
    sequence = words(text)
    return {tuple(sequence[i : i + length]) for i in range(len(sequence) - length + 1)}


def docstrings(folder: Path) -> Iterator[str]:
    """Yield the docstrings in the Python files below ``folder``, files in alphabetical order."""
    for path in sorted(folder.rglob("*.py")):
        if {"test", "tests", "site-packages"} & set(path.relative_to(folder).parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, OSError):
            continue  # templates, and files kept for another Python version
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node)
                if text and len(text) > 80:
                    yield text


def source_folders(packages: Iterable[str] = PACKAGES) -> list[Path]:
    """Return the standard library's folder, then those of the ``packages`` that are installed."""
    folders = [Path(sysconfig.get_paths()["stdlib"])]
    for name in packages:
        found = importlib.util.find_spec(name)
        if found and found.submodule_search_locations:
            folders.append(Path(found.submodule_search_locations[0]))
    return folders


def training_documents() -> list[str]:
    """Return the documents to train on: copies of the reference's train split, then docstrings."""
    held_out = word_runs(python_docs("validation")) | word_runs(python_docs("test"))
    seen: set[str] = set()

    def fresh(paragraph: str) -> bool:
        if paragraph in seen:
            return False
        seen.add(paragraph)
        return split_of(paragraph) == "train" and held_out.isdisjoint(word_runs(paragraph))

    def kept(document: str) -> str:
        return "\n\n".join(p for p in paragraphs(document) if fresh(p))

    reference = kept(python_docs("train"))
    bodies = (kept(text) for folder in source_folders() for text in docstrings(folder))
    return [reference] * REFERENCE_COPIES + [body for body in bodies if len(body) > 80]
