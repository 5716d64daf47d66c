"""The tasks that are made of a text ask what the text answers."""

import json
from pathlib import Path

import yaml

from tests.benchmarks.tasks import main


def test_answers_are_in_the_text(tmp_path):
    def sentence(number):
        return " ".join([f"word{letter * (number % 7 + 3)}" for letter in "abcdefg"]) + f" alpha{'z' * number} again"

    paragraphs = [" . ".join(sentence(first + at) for at in range(8)) + " ." for first in range(12)]
    (tmp_path / "text.txt").write_text("\n\n".join(paragraphs), encoding="utf-8")
    main([str(tmp_path / "text.txt"), str(tmp_path / "tasks")])

    def examples(name):
        task = yaml.safe_load((tmp_path / "tasks" / f"{name}.yaml").read_text())
        (data,) = task["dataset_kwargs"]["data_files"].values()
        return [json.loads(line) for line in Path(data).read_text(encoding="utf-8").splitlines()]

    words, sentences = examples("repeated_word"), examples("next_sentence")
    assert len(words) == len(sentences) == len(paragraphs)
    for each in words:
        assert each["word"].strip() in each["context"].split()
        assert any(each["context"] + each["word"] in paragraph for paragraph in paragraphs)
    for each in sentences:
        assert len(set(each["choices"])) == 4
        right = each["choices"][each["label"]]
        assert any(f"{each['context']} {right}" in paragraph for paragraph in paragraphs)
        others = set(each["choices"]) - {right}
        assert not any(f"{each['context']} {other}" in paragraph for other in others for paragraph in paragraphs)
    assert len({each["label"] for each in sentences}) > 1
