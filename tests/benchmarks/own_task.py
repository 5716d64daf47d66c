"""Makes task files: ``python -m tests.benchmarks.own_task cloze TEXT OUT.jsonl`` or ``functions OUT.jsonl``.

``cloze``: the beginning of a paragraph of WikiText, its next words, and words of three other paragraphs of the article.
``functions``: signature and docstring of a function of Python's standard library, and its body. ``--lines`` of them are
drawn by ``--seed``; ``--held-out`` draws from the other half of the modules, for an answer that no search has seen.
"""

import argparse
import ast
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROMPT, ANSWER, CHOICES = 30, 10, 4  # words, and choices
_TITLE = re.compile(r"^ = [^=]+ = $", re.MULTILINE)
_LETTERS = (80, 350)  # of prompts and of bodies, at least and at most


def cloze(text: str) -> Iterator[dict[str, Any]]:
    """Yield lines of the paragraphs of ``text``, in WikiText's format."""
    for article in _TITLE.split(text):
        paragraphs = [words for line in article.split("\n") if len(words := line.split()) > PROMPT + 2 * ANSWER]
        for number, words in enumerate(paragraphs):
            others = paragraphs[:number] + paragraphs[number + 1 :]
            if len(others) < CHOICES - 1:
                continue
            right = " ".join(words[PROMPT : PROMPT + ANSWER])
            wrong = [" ".join(other[ANSWER : 2 * ANSWER]) for other in random.sample(others, CHOICES - 1)]
            choices = [f" {choice}" for choice in [right, *wrong]]
            random.shuffle(choices)
            if len({*choices}) == CHOICES:
                yield {"prompt": " ".join(words[:PROMPT]), "choices": choices, "answer": f" {right}"}


def functions(held_out: bool) -> Iterator[dict[str, Any]]:
    """Yield lines of every second module of the standard library, or of the others."""
    for path in sorted(Path(ast.__file__).parent.glob("*.py"))[held_out::2]:
        source = path.read_text(encoding="utf-8")
        lines = source.split("\n")
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.FunctionDef) or not ast.get_docstring(node) or len(node.body) < 2:
                continue
            first, end = node.body[1].lineno - 1, node.end_lineno
            texts = ["\n".join(part) + "\n" for part in (lines[node.lineno - 1 : first], lines[first:end])]
            if all(least <= len(text) <= most for text, (least, most) in zip(texts, (_LETTERS, _LETTERS), strict=True)):
                yield dict(zip(("prompt", "answer"), texts, strict=True))


def main(arguments: list[str]) -> None:
    """Write a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["cloze", "functions"])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", action="store_true")
    options = parser.parse_args(arguments)
    random.seed(options.seed)
    *texts, out = options.files
    made = list(cloze(texts[0].read_text(encoding="utf-8")) if texts else functions(options.held_out))
    chosen = random.sample(made, options.lines)
    out.write_text("".join(json.dumps(line) + "\n" for line in chosen), encoding="utf-8")
    print(f"{out}: {len(chosen)} of {len(made)} lines")


if __name__ == "__main__":
    main(sys.argv[1:])
