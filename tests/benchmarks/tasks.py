"""Make a task of a text of paragraphs in lines, words apart from punctuation, as WikiText-2.

::

    python -m tests.benchmarks.tasks TEXT.txt tasks
    python -m evoprune eval runs/NAME --tasks repeated_word --include-path tasks --limit 200
    python -m tests.benchmarks.tasks TEXT.txt cloze.jsonl --cloze

``repeated_word``, a task of lm-evaluation-harness that reads local data only: a passage that ends before a word which
occurred in it (as LAMBADA, Paperno et al., 2016). ``--cloze``: a task file of 200 lines; 30 words of a paragraph, its
next 10, and 10 words of three other paragraphs of the article.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml

Example = dict[str, object]

_PASSAGE, _LONG = (60, 100), 5  # words of a passage whose last word is to be predicted; letters of such a word
_PROMPT, _ANSWER, _CHOICES, _LINES = 30, 10, 4, 200  # of a task file: words, words, choices and lines
_TITLE = re.compile(r"^ = [^=]+ = $", re.MULTILINE)

_TASK = {
    "task": "repeated_word",
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "loglikelihood",
    "doc_to_text": "{{context}}",
    "doc_to_target": "{{word}}",
    "metric_list": [
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
    ],
}


def repeated_words(paragraphs: Sequence[str]) -> Iterator[Example]:
    """Yield one example of each paragraph that has a word in the right place."""
    for words in (paragraph.split(" ") for paragraph in paragraphs):
        for at in range(_PASSAGE[0], min(len(words), _PASSAGE[1])):
            word = words[at]
            if word.isalpha() and len(word) >= _LONG and word in words[:at]:
                yield {"context": " ".join(words[:at]), "word": f" {word}"}
                break


def cloze(text: str) -> Iterator[Example]:
    """Yield one line of each paragraph of an article with enough others."""
    for article in _TITLE.split(text):
        paragraphs = [words for line in article.split("\n") if len(words := line.split()) > _PROMPT + 2 * _ANSWER]
        for number, words in enumerate(paragraphs):
            others = paragraphs[:number] + paragraphs[number + 1 :]
            if len(others) < _CHOICES - 1:
                continue
            right = " " + " ".join(words[_PROMPT : _PROMPT + _ANSWER])
            wrong = [" " + " ".join(other[_ANSWER : 2 * _ANSWER]) for other in random.sample(others, _CHOICES - 1)]
            choices = random.sample([right, *wrong], _CHOICES)
            if len({*choices}) == _CHOICES:
                yield {"prompt": " ".join(words[:_PROMPT]), "choices": choices, "answer": right}


def write(place: Path, examples: Iterable[Example]) -> None:
    """Write a line for each example."""
    place.write_text("".join(json.dumps(example) + "\n" for example in examples), encoding="utf-8")


def main() -> None:
    """Write the task, or the task file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("out", type=Path, help="the folder, or with --cloze the .jsonl file, to write")
    parser.add_argument("--cloze", action="store_true", help="write a task file")
    given = parser.parse_args()
    random.seed(0)
    text = given.text.read_text(encoding="utf-8")
    if given.cloze:
        write(given.out, random.sample(list(cloze(text)), _LINES))
    else:
        paragraphs = [line.strip() for line in text.splitlines() if line.strip()]
        random.shuffle(paragraphs)
        given.out.mkdir(parents=True, exist_ok=True)
        write(data := given.out.resolve() / "repeated_word.jsonl", repeated_words(paragraphs))
        task = _TASK | {"dataset_kwargs": {"data_files": {"test": str(data)}}}
        (given.out / "repeated_word.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")


if __name__ == "__main__":
    main()
