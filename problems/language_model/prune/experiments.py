"""Experiments of the command ``prune``, as mappings: the common part, cuts, and zeros. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evoprune.problems.language_model.prune.interfaces import LEAST_STEP, Json, Setup

_WIDTHS = 12  # of an MLP that are tried, about
_RATE = 3e-3  # of a training of all weights, times their size and the share that was cut


def experiment(
    setup: Setup, problem: Json, operators: Json, evaluations: int, recover: Json | None, **others: Any
) -> Json:
    """Return the experiment of a ``problem`` on the model and texts of ``setup``; keys without a value are left out.

    ``recover``: keys of the training besides the usual ones; None for no training.
    """
    training = {
        "time": setup.training,
        "train": setup.trainable,
        "evaluations": 3,
        "window": setup.trained_window,
        "held_out": setup.held_out,
        "comparing": round(setup.comparing, 1) or None,
        "text": setup.trained.get("source"),
        "split": setup.trained.get("split"),
        "part": setup.trained.get("part"),
    }
    common = {
        "model": setup.model,
        "dtype": setup.dtype,
        "search_text": setup.search,
        "held_out_windows": setup.held_out,
        "calibration_text": setup.calibration,
        "report_text": setup.report,
        "second_text": [*setup.others] or None,
        "recover": None if recover is None else given(training | recover),
    }
    operators = operators | {"repair": "shift"}
    return {"problem": given(common | problem), "operators": operators, "evaluations": evaluations, **others}


def given(keys: Mapping[str, Any]) -> Json:
    """Return ``keys`` that have a value, not None."""
    return {key: value for key, value in keys.items() if value is not None}


def two_digits(size: float) -> float:
    """Return ``size`` in two digits."""
    return float(f"{size:.1e}")


def cuts(setup: Setup, removed: float, limit: Json) -> Json:
    """Fewer heads and channels (docs/structure.md), or experts of a mixture, by a search under ``limit``.

    ``removed``: about the share of the blocks' parameters that goes. In a file, matrices are in the types of the source
    or smaller ones (docs/joint.md). Where the file's blocks have to be alike, whole ones go, and channels of all.
    """
    facts, output = setup.facts, setup.output
    drop = None if output.drops_sublayers(removed) else False
    transforms = setup.vocabulary_cut
    if facts.experts:
        transforms.append({"use": "experts", "genes": "model" if output.one_file else "block"})
    if facts.width:
        if facts.heads and not output.alike:
            transforms.append(given({"use": "heads", "drop": drop}))
        if output.loses_blocks:
            transforms.append({"use": "sublayers", "genes": "block"})
    if facts.width and not setup.whole_blocks:
        channels = {"use": "channels", "genes": "model" if output.alike else None}
        transforms.append(given({**channels, "step": channel_step(facts.width, output.block_size), "drop": drop}))
    transforms += output.types()
    problem = {"use": "language_model", "transforms": transforms, "budget": limit, "objective": "kl"}
    rate = two_digits(removed * facts.weight_size * _RATE) if facts.roomy else None
    recover = {"rate": rate, "cross_entropy": 0, "batch": 1}
    if output.one_file:  # each child is refitted and quantised
        additive = {"use": "additive", "screening": 0.125, "offspring": 6, "survivors": 1}
        return experiment(setup, problem, {"algorithm": additive}, 80, recover)
    if facts.experts:
        return experiment(setup, problem, {"algorithm": {"use": "greedy", "screening": 0.25}}, 80, recover)
    operators = {"algorithm": "equal_marginals", "mutate": {"use": "exchange", "moves": 3}}
    return experiment(setup, problem, operators, 200, recover)


def zeros(setup: Setup, sparsity: float) -> Json:
    """A share of the weights set to zero, as problems/smollm2_best.yaml (docs/results.md)."""
    problem = {
        "use": "pruning",
        "sparsity": sparsity,
        "score": "gblm" if setup.facts.differentiable else "wanda",
        "genes": "block" if setup.short else "block_and_kind",
        "reconstruct": "none" if setup.short else "least_squares",
        "curve": [],
    }
    operators = {
        "algorithm": {"use": "equal_marginals", "probe": 0.08, "screening": 0.25},
        "mutate": {"use": "exchange", "step": 0.1, "moves": 3},
    }
    return experiment(setup, problem, operators, 220, None)


def channel_step(width: int, block: int = LEAST_STEP) -> int:
    """Return the divisor of ``width``, that of an MLP, that is nearest to a twelfth of it.

    A multiple of ``block`` or else of 32, if some is.
    """
    sizes = (size for size in range(LEAST_STEP, width + 1) if width % size == 0)
    return min(sizes, key=lambda size: (size % block > 0, size % LEAST_STEP > 0, abs(size - width / _WIDTHS)))
