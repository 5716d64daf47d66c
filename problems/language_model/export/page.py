"""Parts of a run's page: a table of the model and its baselines, and maps of the matrices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from evoprune.plugins import EVOLVED, Block, Heatmap, digits, table, text
from evoprune.problems.language_model.export.facts import ExportFacts, Runtime
from evoprune.problems.language_model.results.result import ResultFacts
from evoprune.problems.language_model.results.summary import LABELS, megabytes
from evoprune.problems.language_model.transforms import UNIFORM

Columns = Mapping[str, Mapping[str, str]]
"""Cells of a table by model and measurement."""


def comparison(model: ResultFacts, columns: Columns | None = None, terms: str = "Perplexity on") -> Iterator[Block]:
    """Yield a table of the ``model`` with its source and baselines, by default :func:`models`, and a legend."""
    columns = columns or models(model)
    report = model.protocol.report_text
    terms += f" {report.predictions:,} tokens ({report.windows} windows) of a report text that the search never saw."
    if UNIFORM in columns:
        terms += " Uniform: every layer loses the same share."
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    yield table(["", *columns], ([name, *(of.get(name, "") for of in columns.values())] for name in names))
    yield f"*{text(terms)}*"


def maps(model: ResultFacts) -> Iterator[Heatmap]:
    """Yield a map of the removed share of each matrix, if any."""
    if model.by_matrix and any(model.by_matrix.values()):
        yield removed_map(model.by_matrix)


def speeds(timed: Runtime | None, which: Literal["dense", "evolved"]) -> dict[str, str]:
    """Return cells for the speeds and the memory of one of both models; none if they were not timed."""
    if timed is None:
        return {}
    pairs = {"generates": timed.decode, "reads": timed.prefill}
    words = {name: f"{digits(getattr(pair, which), 3)} tokens/s" for name, pair in pairs.items()}
    return words | ({"memory to run it": megabytes(getattr(timed.peak_bytes, which))} if timed.peak_bytes else {})


def models(model: ResultFacts) -> Columns:
    """Return columns for the result, the uniform and the dense model; an exported folder also has times."""
    bits, final = model.final_bits_per_byte, model.final_perplexities
    columns: dict[str, dict[str, str]] = {}
    for name, title in {EVOLVED: LABELS[EVOLVED], UNIFORM: UNIFORM, "dense": "dense"}.items():
        if name not in final:
            continue
        column = columns[title] = {}
        if model.is_smaller and name != UNIFORM:
            column["weights"] = megabytes(getattr(model.cost.bytes, name))
            column["parameters"] = f"{getattr(model.cost.parameters, name):,}"
        if name == EVOLVED and model.sparsity and model.by_matrix:
            column["prunable weights removed"] = f"{model.sparsity.prunable:.1%}"
        column["perplexity"] = digits(final[name])
        if bits.get(name) is not None:
            column["bits per byte"] = digits(bits[name])
        if name in (shares := model.final_accuracy):
            column["accuracy"] = f"{shares[name]:.1%}"
        if isinstance(model, ExportFacts) and name != UNIFORM:
            column |= speeds(model.runtime, "dense" if name == "dense" else "evolved")
    return columns


def removed_map(shares: Mapping[str, float]) -> Heatmap:
    """Return a map of the removed share of the weights of each matrix."""
    least, most = min(shares.values()), max(shares.values())
    place = {share: (most - share) / (most - least or 1) for share in shares.values()}
    cells = {name: (f"{share:.0%}", place[share]) for name, share in shares.items()}
    key = {f"{share:.0%} removed": place.get(share, 0.5) for share in (most, (most + least) / 2, least)}
    return matrix_map("Weights removed by block and matrix", cells, key, "Shares of the weights of each matrix.")


def matrix_map(title: str, cells: Mapping[str, tuple[str, float]], key: Mapping[str, float], words: str) -> Heatmap:
    """Return a map of ``cells`` by matrix name, with a row for each block and a column for each kind."""
    rows: dict[str, dict[str, Any]] = {}
    whole = {}
    for name, cell in cells.items():
        block, kind = place_of(name)
        if block is None:
            whole[kind] = cell
        else:
            rows.setdefault(block, {})[kind] = cell
    return Heatmap(title, rows, whole, key, words)


def place_of(name: str) -> tuple[str | None, str]:
    """Return the block, if any, and the kind of the matrix ``name``, such as ``blk.3.attn_q.weight``."""
    match = re.fullmatch(r"\D*?\.(\d+)\.(.+?)(\.weight)?", name)
    return (match[1], match[2]) if match else (None, name.removesuffix(".weight"))
