"""Parts of a run's page: a table of the model and its baselines, and maps of the matrices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from evoprune.plugins import EVOLVED, Block, Heatmap, digits, table, text
from evoprune.problems.language_model.export.facts import ExportFacts, FileScores, Runtime, StoredMatrix
from evoprune.problems.language_model.results.result import ResultFacts
from evoprune.problems.language_model.results.summary import FILE_LABELS, LABELS, megabytes
from evoprune.problems.language_model.transforms import UNIFORM

Columns = Mapping[str, Mapping[str, str]]
"""Cells of a table by model and measurement."""


def comparison(model: ResultFacts) -> Iterator[Block]:
    """Yield a table of the ``model`` with its source and baselines, and a legend."""
    if isinstance(model, ExportFacts) and model.matrices:
        columns = _files(model)
        terms = "Loss behind the source, KL divergence from the dense model (99% of the tokens have less), and how "
        terms += "often the likeliest token is that of the dense model, in llama.cpp, on"
    else:
        columns, terms = _models(model), "Perplexity on"
    report = model.protocol.report_text
    terms += f" {report.predictions:,} tokens ({report.windows} windows) of a report text that the search never saw."
    if UNIFORM in columns:
        terms += " Uniform: every layer loses the same share."
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    yield table(["", *columns], ([name, *(of.get(name, "") for of in columns.values())] for name in names))
    yield f"*{text(terms)}*"


def maps(model: ResultFacts) -> Iterator[Heatmap]:
    """Yield a map of the types of the matrices, or of the removed share of each, if any."""
    if isinstance(model, ExportFacts) and model.matrices:
        yield types_map(model.matrices)
    elif model.by_matrix and any(model.by_matrix.values()):
        yield removed_map(model.by_matrix)


def _files(facts: ExportFacts) -> Columns:
    """Return columns for a .gguf file, the preset and the source."""
    dense, source = facts.cost.parameters.dense, facts.source
    exported = _file(facts.bytes, facts.bits_per_weight, facts.check) | _speeds(facts.runtime, "evolved")
    if facts.memory:
        exported[f"memory with a context of {facts.memory.context:,} tokens"] = megabytes(facts.memory.total)
    columns = {"this file": exported}
    if facts.preset:
        bits = 8 * facts.preset.bytes / dense
        columns[f"llama.cpp's {facts.preset.name}"] = _file(facts.preset.bytes, bits, facts.preset)
    size = source.bytes if source else facts.protocol.source_bytes
    if size:
        name = f"dense, {source.name}" if source and not facts.protocol.model.endswith(".gguf") else "source"
        columns[name] = _file(size, 8 * size / dense, None) | _speeds(facts.runtime, "dense")
    return columns


def _speeds(timed: Runtime | None, which: Literal["dense", "evolved"]) -> dict[str, str]:
    if timed is None:
        return {}
    pairs = {"generates": timed.decode, "reads": timed.prefill}
    words = {name: f"{digits(getattr(pair, which), 3)} tokens/s" for name, pair in pairs.items()}
    return words | ({"memory to run it": megabytes(getattr(timed.peak_bytes, which))} if timed.peak_bytes else {})


def _file(size: int, bits: float | None, row: FileScores | None) -> dict[str, str]:
    """Return cells for a file of ``size`` bytes with ``bits`` a weight and the scores ``row``."""
    words = {"size": megabytes(size), "bits a weight": f"{bits:.2f}" if bits else ""}
    if row and row.loss_gap and row.predictions:
        words[FILE_LABELS["bits_behind"]] = f"{digits(row.loss_gap.bits, 3)} ± {digits(row.loss_gap.error, 2)}"
        words[FILE_LABELS["divergence"]] = f"{digits(row.divergence, 3)} ± {digits(row.predictions.error, 2)}"
        words[FILE_LABELS["p99"]] = digits(row.predictions.p99, 3)
        words[FILE_LABELS["same_top"]] = f"{row.loss_gap.same_top:.1%} ± {row.predictions.same_top_error:.1%}"
    return words


def _models(model: ResultFacts) -> Columns:
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
            column |= _speeds(model.runtime, "dense" if name == "dense" else "evolved")
    return columns


def types_map(matrices: Mapping[str, StoredMatrix]) -> Heatmap:
    """Return a map of the type of each matrix, with a colour for each number of bits."""
    usual: dict[str, tuple[int, int]] = {}  # the largest shape of each kind
    for name, matrix in matrices.items():
        kind = _place(name)[1]
        usual[kind] = max(usual.get(kind, (0, 0)), (matrix.rows, matrix.width))
    weights = Counter[str]()
    for matrix in matrices.values():
        weights[matrix.type] += matrix.rows * matrix.width
    bits = {matrix.type: matrix.bits for matrix in matrices.values()}
    levels = sorted(set(bits.values()))
    place = {kind: levels.index(of) / max(1, len(levels) - 1) for kind, of in bits.items()}
    cells = {}
    for name, matrix in matrices.items():
        narrow = (matrix.rows, matrix.width) != usual[_place(name)[1]]
        cells[name] = f"{matrix.type}{f' {matrix.rows} x {matrix.width}' * narrow}", place[matrix.type]
    key = {
        f"{kind}: {bits[kind]:.4g} bits, {weights[kind] / weights.total():.1%}": place[kind]
        for kind in sorted(bits, key=lambda kind: (bits[kind], kind))
    }
    words = f"Types of the {len(matrices)} matrices; the key has the bits of a weight and the share of all weights."
    if any(" x " in words for words, _ in cells.values()):
        words += " Rows x width are given of matrices that are narrower than others of their kind."
    return _map("Types by block and matrix", cells, key, words)


def removed_map(shares: Mapping[str, float]) -> Heatmap:
    """Return a map of the removed share of the weights of each matrix."""
    least, most = min(shares.values()), max(shares.values())
    place = {share: (most - share) / (most - least or 1) for share in shares.values()}
    cells = {name: (f"{share:.0%}", place[share]) for name, share in shares.items()}
    key = {f"{share:.0%} removed": place.get(share, 0.5) for share in (most, (most + least) / 2, least)}
    return _map("Weights removed by block and matrix", cells, key, "Shares of the weights of each matrix.")


def _map(title: str, cells: Mapping[str, tuple[str, float]], key: Mapping[str, float], words: str) -> Heatmap:
    """Return a map of ``cells`` by matrix name, with a row for each block and a column for each kind."""
    rows: dict[str, dict[str, Any]] = {}
    whole = {}
    for name, cell in cells.items():
        block, kind = _place(name)
        if block is None:
            whole[kind] = cell
        else:
            rows.setdefault(block, {})[kind] = cell
    return Heatmap(title, rows, whole, key, words)


def _place(name: str) -> tuple[str | None, str]:
    """Return the block, if any, and the kind of the matrix ``name``, such as ``blk.3.attn_q.weight``."""
    match = re.fullmatch(r"\D*?\.(\d+)\.(.+?)(\.weight)?", name)
    return (match[1], match[2]) if match else (None, name.removesuffix(".weight"))
