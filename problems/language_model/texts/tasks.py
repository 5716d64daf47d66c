"""Task files: a .jsonl file of prompts and answers; only answers are scored. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from evoprune import InputError
from evoprune.problems.language_model.texts.settings import TextSettings

KINDS = {"messages": "messages", "choices": "prompt, choices and answer", "answer": "prompt and answer"}
"""The keys of each kind of line."""

Json = dict[str, Any]
UTF_8 = "utf-8-sig"  # with or without a byte order mark


@dataclass(frozen=True)
class Line:
    """The ``text`` of a line, and the begin and end, in characters, of each answer in it.

    ``choices``: the answers to choose from, if any; the one at ``right`` is in the text. ``number``: of the line in the
    file, from 1 on.
    """

    text: str
    answers: tuple[tuple[int, int], ...]
    choices: tuple[str, ...] = ()
    right: int = 0
    number: int = field(default=0, compare=False)

    @property
    def variants(self) -> list[Line]:
        """The line with each choice in turn; the line itself if it has none."""
        if not self.choices:
            return [self]
        prompt, ((begin, _),) = self.text.removesuffix(self.choices[self.right]), self.answers
        texts = [prompt + choice for choice in self.choices]
        return [replace(self, text=text, answers=((begin, len(text)),), right=at) for at, text in enumerate(texts)]


def is_task(settings: TextSettings) -> bool:
    """Tell by the keys of the first line if a file is a task file; a file with a column ``text`` is plain text."""
    path = Path(settings.source)
    if path.suffix != ".jsonl" or not settings.is_local or settings.column != "text" or not path.is_file():
        return False
    try:
        with path.open(encoding=UTF_8) as lines:
            first = json.loads(next((line for line in lines if line.strip()), "{}"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(first, dict) and "text" not in first and bool({"prompt", "messages", "answer"} & first.keys())


def task_fault(settings: TextSettings) -> str | None:
    """Return the fault of the first faulty line of a task file; None if there is none, and for plain text."""
    try:
        if is_task(settings):
            read_records(Path(settings.source))
    except InputError as error:
        return str(error)
    return None


def read_records(path: Path) -> list[tuple[int, Json]]:
    """Read the lines of a task file with their numbers. Raises :class:`evoprune.InputError`."""
    numbered: list[tuple[int, Json]] = []
    try:
        text = path.read_text(UTF_8)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                numbered.append((number, _checked(line)))
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}: line {number}: {error}") from None
            (first, kind), (_, last) = ((at, KINDS[_kind(record)]) for at, record in (numbered[0], numbered[-1]))
            if kind != last:
                raise InputError(f"{path}: line {number} has {last}, line {first} has {kind}: expected the same keys")
    if not numbered:
        raise InputError(f"{path}: expected lines with {', or '.join(KINDS.values())}, got none")
    return numbered


def parse_json(line: str) -> Any:
    """Parse a line of JSON. Raises ValueError, also for text that cannot be encoded in UTF-8."""
    value = json.loads(line)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{error.object[error.start]!r} is half of a character: expected both or none") from None
    return value


def _kind(record: Json) -> str:
    return next((kind for kind in ("messages", "choices") if kind in record), "answer")


def _checked(line: str) -> Json:
    record = parse_json(line)
    if not isinstance(record, dict):
        raise ValueError(f"expected an object with {', or '.join(KINDS.values())}")
    kind = _kind(record)
    if kind == "messages":
        _check_messages(record["messages"])
        return record
    if kind == "answer":
        _check_texts(record, "prompt", "answer")
        return record
    _check_texts(record, "prompt")
    choices, answer = record["choices"], record.get("answer")
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(one, str) and one for one in choices):
        raise ValueError("choices: expected at least two texts")
    if len({*choices}) < len(choices):
        raise ValueError("choices: expected texts that differ")
    indices: list[Any] = [*range(len(choices))]
    if isinstance(answer, bool) or answer not in [*choices, *indices]:
        given = json.dumps(answer)
        raise ValueError(f"answer: expected one of the choices, or its index from 0 to {indices[-1]}, got {given}")
    return record | {"answer": choices.index(answer) if isinstance(answer, str) else answer}


def _check_texts(record: Json, *keys: str) -> None:
    for key in keys:
        if not isinstance(record.get(key), str) or not record[key].strip():
            raise ValueError(f"{key}: expected a text, got {json.dumps(record.get(key))}")


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError("messages: expected a list of objects with role and content")
    for message in messages:
        _check_texts(message, "role", "content")
    if "assistant" not in [message["role"] for message in messages[1:]]:
        raise ValueError("messages: expected one of the role assistant after another one")


def read_lines(settings: TextSettings, tokenizer: Any) -> list[Line]:
    """Read the lines of a task file, or of a part of it, without duplicates, in a fixed random order.

    Raises :class:`evoprune.InputError`.
    """
    path = Path(settings.source)
    unique: dict[Line, None] = {}
    for number, record in read_records(path):
        try:
            unique.setdefault(_line(record, tokenizer, number))
        except ValueError as error:
            raise InputError(f"{path}: line {number}: {error}") from None
    lines = list(unique)
    shuffled = [lines[at] for at in numpy.random.default_rng(0).permutation(len(lines))]
    begin, end = (round(share * len(lines)) for share in settings.part or (0.0, 1.0))
    return shuffled[begin:end]


def _line(record: Json, tokenizer: Any, number: int) -> Line:
    if "messages" in record:
        text = _rendered(tokenizer, record["messages"])
        return Line(text, tuple(_spans(tokenizer, record["messages"], text)), number=number)
    prompt, choices = record["prompt"], tuple(record.get("choices", ()))
    answer = choices[record["answer"]] if choices else record["answer"]
    # blanks before an answer are part of it, as in lm-evaluation-harness: tokens begin with them
    span = (len(prompt.rstrip()), len(prompt + answer))
    return Line(prompt + answer, (span,), choices, record["answer"] if choices else 0, number)


def _rendered(tokenizer: Any, messages: list[Json], answer: bool = False) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError("messages: the model's tokenizer has no chat template; expected prompt and answer")
    from evoprune.problems.language_model.models.load import added_bos_token  # which imports torch

    try:
        text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer))
    except Exception as error:  # templates raise errors of their own
        raise ValueError(f"messages: the model's chat template does not take them: {error}") from None
    added = added_bos_token(tokenizer) is not None  # then every window begins with it
    return text.removeprefix(tokenizer.bos_token) if added else text


def _spans(tokenizer: Any, messages: list[Json], text: str) -> Iterator[tuple[int, int]]:
    """Yield the begin and end in ``text`` of each turn that the model writes."""
    for at, message in enumerate(messages):
        if at and message["role"] == "assistant":
            before = _rendered(tokenizer, messages[:at], answer=True)
            whole = _rendered(tokenizer, messages[: at + 1])
            if not (text.startswith(whole) and whole.startswith(before)):
                raise ValueError("messages: the model's chat template changes earlier turns; expected a single one")
            yield len(before), len(whole)


Tokens = NDArray[numpy.int64]


def token_rows(lines: Sequence[Line], settings: TextSettings, tokenizer: Any, length: int) -> Tokens:
    """Return a row of ``length`` tokens for each of ``lines``: the line, then the lines after it.

    Only the line's answers are scored (see :mod:`evoprune.problems.language_model.models.forward`). Raises
    :class:`evoprune.InputError` for a longer line.
    """
    tokens = [line_tokens(line, tokenizer) for line in lines]
    for line in lines:
        if (size := most_tokens(line, tokenizer)) > length:
            why = f"line {line.number} has {size} tokens: expected at most {length}"
            raise InputError(f"{settings.source}: {why}; give a larger window, or leave the line out")
    starts = numpy.cumsum([0, *map(len, tokens)])[:-1]
    read = numpy.concatenate([*tokens, numpy.empty(0, numpy.int64)])
    read = numpy.where(read < 0, read, ~read)  # no token is scored
    rows = read[(starts[:, None] + numpy.arange(length)) % max(1, len(read))]
    for row, line_read in zip(rows, tokens, strict=True):
        row[: len(line_read)] = line_read
    return rows


def most_tokens(line: Line, tokenizer: Any) -> int:
    """Return the number of tokens of ``line`` with its longest choice."""
    return max(len(line_tokens(variant, tokenizer)) for variant in line.variants)


def line_tokens(line: Line, tokenizer: Any) -> Tokens:
    """Return the tokens of ``line``; tokens that are not scored are complemented.

    An answer begins after as many tokens as its prompt alone has, as in lm-evaluation-harness.
    """

    def read(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]  # type: ignore[no-any-return]

    tokens = numpy.array(read(line.text), dtype=numpy.int64)
    counted = numpy.zeros(len(tokens), dtype=bool)
    for begin, end in line.answers:
        last = len(tokens) if end == len(line.text) else len(read(line.text[:end]))
        counted[min(len(read(line.text[:begin])), last - 1) : last] = True
    return numpy.where(counted, tokens, ~tokens)
