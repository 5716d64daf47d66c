"""Writes two tasks of lm-evaluation-harness that read local data only, made of a text.

::

    python -m tests.benchmarks.tasks TEXT.txt tasks
    python -m evoprune eval runs/NAME --tasks repeated_word,next_sentence --include-path tasks --limit 200

``repeated_word``: a passage that ends before a word which occurred in it (as LAMBADA, Paperno et al., 2016). The model
has to predict the word. ``next_sentence``: three sentences; the model has to choose the fourth one of four, three of
which are from other places of the text.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

Example = dict[str, object]

_WORDS = (60, 100)
"""The least and the most words of a passage whose last word is to be predicted."""

_LONG = 5
"""Letters of a word that is worth predicting, at least."""

_SENTENCE = (6, 30)
"""The least and the most words of a sentence."""

_CONTEXT, _CHOICES = 3, 4

_COMMON = {"dataset_path": "json", "test_split": "test", "doc_to_text": "{{context}}"}

_TASKS = {
    "repeated_word": {
        "output_type": "loglikelihood",
        "doc_to_target": "{{word}}",
        "metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
        ],
    },
    "next_sentence": {
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{label}}",
        "metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
        ],
    },
}
"""What task files of the harness say, besides where the examples lie."""


def repeated_words(paragraphs: Sequence[str]) -> Iterator[Example]:
    """One of each paragraph that has a word in the right place."""
    for paragraph in paragraphs:
        words = paragraph.split(" ")
        for at in range(_WORDS[0], min(len(words), _WORDS[1])):
            word = words[at]
            if word.isalpha() and len(word) >= _LONG and word in words[:at]:
                yield {"context": " ".join(words[:at]), "word": f" {word}"}
                break


def next_sentences(paragraphs: Sequence[str], seed: int) -> Iterator[Example]:
    """One of each paragraph with enough sentences; the order of choices is random."""
    chance = random.Random(seed)
    parts = [re.split(r"(?<= \.) ", paragraph) for paragraph in paragraphs]
    parts = [part for part in parts if len(part) > _CONTEXT and _fits(part[_CONTEXT])]
    following = [part[_CONTEXT] for part in parts]
    for place, part in enumerate(parts):
        others = chance.sample(following[:place] + following[place + 1 :], _CHOICES - 1)
        label = chance.randrange(_CHOICES)
        choices = [*others[:label], following[place], *others[label:]]
        context = " ".join(part[:_CONTEXT])
        yield {"context": context, "choices": choices, "label": label}  # the harness puts a space between


def _fits(sentence: str) -> bool:
    return _SENTENCE[0] <= len(sentence.split()) <= _SENTENCE[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="a text of paragraphs in lines, words apart from punctuation")
    parser.add_argument("folder", type=Path, help="the folder to write")
    parser.add_argument("--seed", type=int, default=0, help="of the other choices, and of what is asked first")
    given = parser.parse_args(arguments)
    paragraphs = [line.strip() for line in given.text.read_text(encoding="utf-8").splitlines() if line.strip()]
    random.Random(given.seed).shuffle(paragraphs)
    examples = {"repeated_word": repeated_words(paragraphs), "next_sentence": next_sentences(paragraphs, given.seed)}
    given.folder.mkdir(parents=True, exist_ok=True)
    for name, each in examples.items():
        data = given.folder.resolve() / f"{name}.jsonl"
        lines = [json.dumps(example) for example in each]
        data.write_text("\n".join(lines) + "\n", encoding="utf-8")
        task = {"task": name, "dataset_kwargs": {"data_files": {"test": str(data)}}, **_COMMON, **_TASKS[name]}
        (given.folder / f"{name}.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
        print(f"{name}: {len(lines)} examples")


if __name__ == "__main__":
    main()
