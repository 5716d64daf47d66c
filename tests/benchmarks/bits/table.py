"""Markdown tables of the results."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from tests.benchmarks.bits.ways import OURS
from tests.benchmarks.results import Line

_HEAD = "| way | divergence | of each seed | perplexity | bits | tokens | CPU minutes |\n|---|---|---|---|---|---|---|"

_FITS = 1e-9


def of_size(lines: Sequence[Line], bits: float) -> dict[str, list[Line]]:
    """The lines of each way at some ``bits``, and of each preset that fits."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        preset = line.get("way", "").startswith("preset ") and line["size"] <= bits + _FITS
        if "report_kl" in line and (preset or line.get("bits") == bits):
            groups.setdefault(line["way"], []).append(line)
    return groups


def best(lines: Sequence[Line], bits: float) -> list[Line]:
    """The first lines of our best way, of the best rival, and of the best preset that fits."""
    kinds: dict[str, dict[str, list[Line]]] = {}
    for way, group in of_size(lines, bits).items():
        kind = "ours" if way in OURS else "preset" if way.startswith("preset ") else "rival"
        kinds.setdefault(kind, {})[way] = group
    return [min(found.values(), key=_divergence)[0] for found in kinds.values()]


def tables(lines: Sequence[Line]) -> str:
    """A table for each size, the least divergence first; of presets the best that fits; then real files."""
    sizes = sorted({line["bits"] for line in lines if "bits" in line})
    return "\n\n".join(part for bits in sizes for part in (_table(lines, bits), _files(lines, bits)) if part)


def _divergence(group: Sequence[Line]) -> float:
    return mean(line["report_kl"] for line in group)


def _table(lines: Sequence[Line], bits: float) -> str:
    groups = of_size(lines, bits)
    chosen = {line["way"] for line in best(lines, bits) if line["way"].startswith("preset ")}
    shown = {way: group for way, group in groups.items() if not way.startswith("preset ") or way in chosen}
    dense = next(line["dense_ppl"] for line in lines if "dense_ppl" in line)
    rows = [_row(way, group) for way, group in sorted(shown.items(), key=lambda item: _divergence(item[1]))]
    return "\n".join([f"{bits} bits for each parameter; dense perplexity {dense:.3f}\n", _HEAD, *rows])


def _row(way: str, group: Sequence[Line]) -> str:
    each = ", ".join(f"{line['report_kl']:.5f}" for line in group) if len(group) > 1 else ""
    perplexity, size = (mean(line[key] for line in group) for key in ("report_ppl", "size"))
    spent = " | ".join(
        f"{mean(line[key] for line in group):{form}}" if key in group[0] else "-"
        for key, form in (("tokens", ",.0f"), ("minutes", ".1f"))
    )
    return f"| {way} | {_divergence(group):.5f} | {each} | {perplexity:.3f} | {size:.3f} | {spent} |"


def _files(lines: Sequence[Line], bits: float) -> str:
    rows = [
        f"| {line['file']} | {line['llama']['divergence']:.5f} | {line['llama']['perplexity']:.3f} | "
        f"{line['llama']['bytes']:,} |"
        for line in lines
        if "file" in line and line["bits"] == bits
    ]
    head = "| file in llama.cpp | divergence | perplexity | bytes |\n|---|---|---|---|"
    return "\n".join([head, *rows]) if rows else ""
