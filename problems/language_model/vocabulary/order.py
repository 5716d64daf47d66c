"""Order of the tokens of a tokenizer by their use in texts, in which each prefix is closed under merges."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from tokenizers import decoders, pre_tokenizers

from evoprune import InputError
from evoprune.problems.language_model.models.hub import quiet
from evoprune.problems.language_model.texts.tokens import KEY, byte_tokens, tokenizer_json
from evoprune.problems.language_model.texts.windows import Tokens, tokenise

SYMBOLS = "symbols"  # the script of tokens without letters
PARTS = "parts of characters"  # the script of tokens that are bytes within a character

_NATS = 6.0
"""Loss of each additional token of a text, in nats (docs/measurements/vocabulary.md)."""

_REPEATED = 512  # tokens in which a missing token counts once, since a model repeats a spelling at little loss

_SHARE = 0.01  # of the letters in the texts, from which on a script is one of the texts'
_ROLES = ("system", "user", "assistant", "user")

Parents = Mapping[int, Sequence[int]]
"""By token, the two tokens that greedy merging joins last to it; none for single characters."""


@dataclass(frozen=True, eq=False)
class Order:
    """The tokens that may remain, the most useful first; each prefix of at least ``fewest`` is closed under merges.

    Closed: the text of each remaining token is encoded as this token, and a text whose tokens all remain has the same
    tokens as before. ``script_of``: the script of each of ``tokens``. ``parents``: of tokens that are merged from two
    others.
    """

    tokens: Sequence[int]
    fewest: int
    script_of: Sequence[str]
    parents: Parents

    def expected_loss(self, uses: Mapping[int, float], count: int) -> float:
        """Return the expected loss with the first ``count`` tokens, in nats a token; see :func:`token_frequencies`."""
        pieces = dict.fromkeys(self.tokens[:count], 1)
        for token in self.tokens[count:]:  # parents come first; not all tokens have known parents
            pieces[token] = sum(pieces[parent] for parent in self.parents.get(token, ())) or 2
        return _NATS * sum(share * (pieces[token] - 1) for token, share in uses.items())

    def scripts(self, count: int) -> Mapping[str, tuple[int, int]]:
        """Return the number of tokens of each script among the first ``count``, and among all, largest script first."""
        kept = Counter(self.script_of[:count])
        return {script: (kept[script], number) for script, number in Counter(self.script_of).most_common()}


def token_frequencies(tokens: Tokens) -> Mapping[int, float]:
    """Return the frequency of each token in a text, where a use soon after another one does not count."""
    counts = Counter[int]()
    for start in range(0, len(tokens), _REPEATED):
        counts.update({*tokens[start : start + _REPEATED].tolist()})
    return {token: count / len(tokens) for token, count in counts.items()}


def token_order(tokenizer: Any, texts: Sequence[str], keep: Sequence[str] = ()) -> Order:
    """Order tokens by their uses in ``texts``, also within other tokens; then by id, the scripts of the texts first.

    Before them come the tokens that always remain: special, added and byte tokens, tokens of the chat template, single
    characters of the texts' scripts (of all scripts if there are no byte tokens), spaces, which indent code, and
    ``keep`` (tokens, or texts that are one token).

    Raises :class:`evoprune.InputError` for an unsuitable tokenizer, unknown tokens in ``keep``, and texts in a script
    that the tokenizer cannot write.
    """
    described = tokenizer_json(tokenizer)
    model, vocabulary = described["model"], tokenizer.get_vocab()
    parents = merge_parents(model) if model["type"] == "BPE" else {}
    of_bytes = _bytes(described) & vocabulary.keys()
    script_of, single = _scripts(vocabulary, described)
    scripts = _scripts_of(texts)
    written = {script_of[token] for token in single} - {SYMBOLS}
    if not of_bytes and (unwritten := scripts - written):
        listed = ", ".join(sorted(written))
        raise InputError(f"the tokenizer has no characters of {min(unwritten)}: give texts in {listed}", KEY)
    always = {vocabulary[token] for token in of_bytes} | _special(tokenizer, described)
    always |= {t for t, text in single.items() if not of_bytes or script_of[t] in scripts or text.isascii()}
    always |= {_token(tokenizer, vocabulary, text) for text in keep}

    reached = set(vocabulary.values())
    if model["type"] == "BPE" and not model.get("ignore_merges"):
        reached = always | parents.keys() | {number for token, number in vocabulary.items() if len(token) == 1}
    uses = Counter[int]()
    for text in texts:
        uses.update(tokenise(text, tokenizer).tolist())
    lengths = {number: len(token) for token, number in vocabulary.items()}
    for token in sorted(parents, key=lengths.__getitem__, reverse=True):  # parents are shorter
        for parent in parents[token]:
            uses[parent] += uses[token]
    tokens: dict[int, None] = {}
    _append(tokens, sorted(always), parents)
    fewest = len(tokens)
    _append(tokens, sorted((t for t in reached if uses[t]), key=lambda token: (-uses[token], token)), parents)
    near = {SYMBOLS, *scripts}
    _append(tokens, sorted(reached, key=lambda token: (script_of[token] not in near, token)), parents)
    merged = (place for place, token in enumerate(tokens) if token in parents)
    fewest = max(fewest, next(merged, 0) + 1)  # .gguf files have one merge at least
    return Order(list(tokens), fewest, [script_of[token] for token in tokens], parents)


def merge_parents(model: Mapping[str, Any]) -> Parents:
    """Return the parents of all tokens that greedy merging of their characters by the BPE ``model`` gives.

    They do not depend on the context: pairs that are merged within a token of a text are also the first by rank if the
    token is the only text.
    """
    vocabulary = model["vocab"]
    ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    pairs = {number: _last_pair(list(token), ranks) for token, number in vocabulary.items()}
    return {number: [vocabulary[part] for part in pair] for number, pair in pairs.items() if pair}


def _last_pair(symbols: list[str], ranks: Mapping[tuple[str, ...], int]) -> tuple[str, ...] | None:
    """Return the last pair that is merged when all ``symbols`` become one; None if they do not."""
    never = len(ranks)
    of_pairs = [ranks.get(pair, never) for pair in pairwise(symbols)]
    while len(symbols) > 2:
        if (rank := min(of_pairs)) == never:
            return None
        place = of_pairs.index(rank)
        symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]
        del of_pairs[place]
        for changed in (place - 1, place):
            if 0 <= changed < len(of_pairs):
                of_pairs[changed] = ranks.get((symbols[changed], symbols[changed + 1]), never)
    pair = tuple(symbols)
    return pair if pair in ranks else None


def _append(tokens: dict[int, None], more: Iterable[int], parents: Parents) -> None:
    """Append ``more`` to ``tokens``, each after its ancestors."""
    for token in more:
        waiting = [token]
        while waiting:
            missing = [parent for parent in parents.get(waiting[-1], ()) if parent not in tokens]
            if missing:
                waiting += missing
            else:
                tokens[waiting.pop()] = None


def _bytes(described: Mapping[str, Any]) -> set[str]:
    """Return the tokens for single bytes; empty if the tokenizer has none."""
    if _is_byte_level(described):
        return set(pre_tokenizers.ByteLevel.alphabet())
    return byte_tokens(described["model"])


def _is_byte_level(described: Mapping[str, Any]) -> bool:
    return any("'ByteLevel'" in str(described.get(step)) for step in ("normalizer", "pre_tokenizer"))


def _scripts(vocabulary: Mapping[str, int], described: Mapping[str, Any]) -> tuple[dict[int, str], dict[int, str]]:
    """Return the script of each token, and the text of tokens that are one character, or only spaces."""
    decode = decoders.ByteLevel().decode if _is_byte_level(described) else "".join
    prefix = described["model"].get("continuing_subword_prefix") or ""
    scripts, single = {}, {}
    for token, number in vocabulary.items():
        text = decode([token.removeprefix(prefix)]).replace("▁", " ")
        script = next(filter(None, map(_script, text)), None)
        scripts[number] = script or (PARTS if "\ufffd" in text else SYMBOLS)
        if (len(text) == 1 and text != "\ufffd") or (text and not text.strip(" ")):
            single[number] = text
    return scripts, single


@lru_cache(1 << 16)
def _script(character: str) -> str | None:
    """Return the script of a letter, or of a mark that belongs to one script; None for other characters."""
    if unicodedata.category(character)[0] not in "LM":
        return None
    script = unicodedata.name(character, "").partition(" ")[0].title()
    return {"Cjk": "Han", "Combining": None, "": None}.get(script, script)


def _scripts_of(texts: Sequence[str]) -> set[str]:
    letters = Counter[str]()
    for character, count in sum(map(Counter, texts), Counter[str]()).items():
        if script := _script(character):
            letters[script] += count
    return {script for script, count in letters.items() if count >= _SHARE * letters.total()}


def _special(tokenizer: Any, described: Mapping[str, Any]) -> set[int]:
    """Return the special and added tokens, and the tokens of the chat template."""
    model, vocabulary = described["model"], tokenizer.get_vocab()
    tokens = {*tokenizer.all_special_ids, *(added["id"] for added in described["added_tokens"])}
    if isinstance(model.get("unk_token"), str):
        tokens.add(vocabulary[model["unk_token"]])
    elif model.get("unk_id") is not None:
        tokens.add(model["unk_id"])
    return tokens | _in_template(tokenizer)


def _in_template(tokenizer: Any) -> set[int]:
    """Return the tokens that the chat template puts around messages."""
    tokens: set[int] = set()
    messages = [{"role": role, "content": ""} for role in _ROLES]
    # without a system message some templates insert a default one
    for conversation in (messages, messages[1:]) if getattr(tokenizer, "chat_template", None) else ():
        try:
            with quiet():
                text = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        except Exception:  # templates are programs, and may refuse roles
            continue
        tokens.update(tokenizer(text, add_special_tokens=False)["input_ids"])
    return tokens


def _token(tokenizer: Any, vocabulary: Mapping[str, int], text: str) -> int:
    """Return the token ``text``, or the single token that encodes it. Raises :class:`evoprune.InputError`."""
    if text in vocabulary:
        return vocabulary[text]
    written = tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(written) != 1 or written[0] == tokenizer.unk_token_id:
        parts = " ".join(repr(part) for part in tokenizer.convert_ids_to_tokens(written))
        raise InputError(f"'{text}' is no token of the tokenizer, which writes it as {parts}", f"{KEY}.keep")
    return int(written[0])
