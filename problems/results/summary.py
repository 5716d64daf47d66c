"""A run's result in a few lines for a terminal. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evoprune import digits
from problems.results.verdict import verdict


def summary(result: Mapping[str, Any]) -> list[str]:
    """The verdict, the perplexities on the report text, and those with updated weights if the run updated them.

    ``result``: the run's ``result.json``, in which null is an infinite perplexity, or no gap to close.
    """
    perplexity, closed = result["perplexity"], result["gap_closed"]
    gap = "" if closed is None else f" ({closed:.0%} of the gap closed)"
    of = f"at {result['sparsity']['prunable']:.1%} of the prunable weights"
    bits, stored = (result.get("cost", {}).get(unit) for unit in ("bits_per_weight", "bytes"))
    if bits and bits["evolved"] < bits["dense"]:  # then weights are rounded, some of them to zero
        of = f"in {stored['evolved']:,} bytes"
    lines = [verdict(result), f"perplexity on the report text: {_listed(perplexity['report'])} {of}{gap}"]
    if (parameters := result.get("cost", {}).get("parameters")) and parameters["evolved"] < parameters["dense"]:
        share = 1 - parameters["evolved"] / parameters["dense"]
        lines.append(
            f"parameters: dense {parameters['dense']:,}, evolved {parameters['evolved']:,} ({share:.1%} fewer)"
        )
    if times := result.get("cost", {}).get("milliseconds"):
        lines.append(
            f"milliseconds {result['protocol']['milliseconds']}: dense {times['dense']:.3g}, evolved "
            f"{times['evolved']:.3g} ({times['dense'] / times['evolved']:.2f}x; predicted {times['predicted']:.3g})"
        )
    if updated := perplexity.get("report_reconstructed"):
        method = result["protocol"].get("reconstruct")
        lines.append(f"reconstructed{f' by {method}' if method else ''}: {_listed(updated)}")
    if finalists := result.get("finalists"):
        judged = _listed({name: row["judged"] for name, row in finalists.items()})
        won = result.get("chosen", "evolved")
        name = f"candidate {result['best']['candidate']}" if won == "evolved" else won
        lines.append(
            f"finals, {result['protocol'].get('finals', 'perplexity')} on held-out windows: {judged}; {name} won"
        )
    return [*lines, *recovered_lines(result.get("recovered", {}))]


def recovered_lines(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for each recovered model; ``rows``: what ``result.json`` has under ``recovered``."""
    for name, row in rows.items():
        behind = row.get("behind_dense")
        gap = "" if behind is None else f", {behind:.3f} nats behind dense trained alike"
        yield (
            f"{name}, recovered: perplexity on the report text {digits(row['perplexity_before'])} before, "
            f"{digits(row['perplexity_after'])} after {row['tokens']:,} tokens{gap}; divergence from dense "
            f"{digits(row['divergence_before'])} before, {digits(row['divergence_after'])} after"
        )
        if not row["helped"]:
            why = "this did not help" if len(row["curve"]) > 1 else "there is nothing to learn"
            yield f"{name}: {why}, and its weights stay as they were"


def _listed(scores: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {digits(value)}" for name, value in scores.items())
