"""The part of a .gguf file in a run's page: a table with its source and llama-quantize's file, and a map of types."""

from collections import Counter
from collections.abc import Iterator, Mapping

from evoprune.plugins import Block, Heatmap, digits
from evoprune.problems.language_model.export import page
from evoprune.problems.language_model.export.page import Columns, matrix_map, place_of, speeds
from evoprune.problems.language_model.gguf.export.facts import (
    BASELINE,
    FILE_LABELS,
    FileScores,
    GgufFacts,
    StoredMatrix,
)
from evoprune.problems.language_model.models.settings import is_model_file
from evoprune.problems.language_model.results.summary import megabytes

_GENERATING = "tokens generated in the time of one of this file"


def comparison(facts: GgufFacts) -> Iterator[Block]:
    """Yield a table of the file with its source and that of llama-quantize, and a legend."""
    terms = "Loss behind the source, KL divergence from the dense model (99% of the tokens have less), and how "
    terms += "often the likeliest token is that of the dense model, in llama.cpp, on"
    return page.comparison(facts, _files(facts), terms)


def results(facts: GgufFacts) -> Mapping[str, str]:
    """Return the cells of the file that do not depend on the other files of :func:`comparison`."""
    return {name: cell for name, cell in _files(facts)["this file"].items() if name != _GENERATING}


def _files(facts: GgufFacts) -> Columns:
    """Return columns for a .gguf file, that of llama-quantize and the source."""
    dense, source = facts.cost.parameters.dense, facts.source
    exported = _file(facts.bytes, facts.bits_per_weight, facts.check) | speeds(facts.runtime, "evolved")
    if facts.memory:
        exported[f"memory with a context of {facts.memory.context:,} tokens"] = megabytes(facts.memory.total)
    columns = {"this file": exported}
    if preset := facts.preset:
        cells = _file(preset.bytes, 8 * preset.bytes / dense, preset)
        if preset.speed:
            exported[_GENERATING], cells[_GENERATING] = "1.00", f"{1 / preset.speed:.2f}"
        columns[f"{BASELINE}: {preset.name}"] = cells
    size = source.bytes if source else facts.protocol.source_bytes
    if size:
        name = f"dense, {source.name}" if source and not is_model_file(facts.protocol.model) else "source"
        columns[name] = _file(size, 8 * size / dense, None) | speeds(facts.runtime, "dense")
    return columns


def _file(size: int, bits: float | None, row: FileScores | None) -> dict[str, str]:
    """Return cells for a file of ``size`` bytes with ``bits`` a weight and the scores ``row``."""
    words = {"size": megabytes(size), "bits a weight": f"{bits:.2f}" if bits else ""}
    if row and row.loss_gap and row.predictions:
        words[FILE_LABELS["bits_behind"]] = f"{digits(row.loss_gap.bits, 3)} ± {digits(row.loss_gap.error, 2)}"
        words[FILE_LABELS["divergence"]] = f"{digits(row.divergence, 3)} ± {digits(row.predictions.error, 2)}"
        words[FILE_LABELS["p99"]] = digits(row.predictions.p99, 3)
        words[FILE_LABELS["same_top"]] = f"{row.loss_gap.same_top:.1%} ± {row.predictions.same_top_error:.1%}"
    return words


def types_map(matrices: Mapping[str, StoredMatrix]) -> Heatmap:
    """Return a map of the type of each matrix, with a colour for each number of bits."""
    usual: dict[str, tuple[int, int]] = {}  # the largest shape of each kind
    for name, matrix in matrices.items():
        kind = place_of(name)[1]
        usual[kind] = max(usual.get(kind, (0, 0)), (matrix.rows, matrix.width))
    weights = Counter[str]()
    for matrix in matrices.values():
        weights[matrix.type] += matrix.rows * matrix.width
    bits = {matrix.type: matrix.bits for matrix in matrices.values()}
    levels = sorted(set(bits.values()))
    place = {kind: levels.index(of) / max(1, len(levels) - 1) for kind, of in bits.items()}
    cells = {}
    for name, matrix in matrices.items():
        narrow = (matrix.rows, matrix.width) != usual[place_of(name)[1]]
        cells[name] = f"{matrix.type}{f' {matrix.rows} x {matrix.width}' * narrow}", place[matrix.type]
    key = {
        f"{kind}: {bits[kind]:.4g} bits, {weights[kind] / weights.total():.1%}": place[kind]
        for kind in sorted(bits, key=lambda kind: (bits[kind], kind))
    }
    words = f"Types of the {len(matrices)} matrices; the key has the bits of a weight and the share of all weights."
    if any(" x " in words for words, _ in cells.values()):
        words += " Rows x width are given of matrices that are narrower than others of their kind."
    return matrix_map("Types by block and matrix", cells, key, words)
