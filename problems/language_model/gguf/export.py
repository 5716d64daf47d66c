"""The export of a run's best candidate as a .gguf file, which llama.cpp runs, and runs in the check."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from evoprune import CARD, Exported, InputError, __version__, about, finite, plain
from problems.language_model.evaluation.measure import Measure
from problems.language_model.evaluation.objectives import Divergence
from problems.language_model.export.run_record import RunRecord, run_record
from problems.language_model.export.write import (
    described,
    of_what_is_written,
    put_recovered,
    refuse_other_inputs,
    sha256_of,
)
from problems.language_model.gguf.card import card, told
from problems.language_model.model.blocks import find_matrices, zeros
from problems.language_model.model.forward import Forward
from problems.language_model.model.load import copy_of
from problems.language_model.options import ExportSettings
from problems.language_model.session import Session

TOLERANCE = 1e-2
"""The largest relative difference between the perplexities in llama.cpp, which rounds activations, and of the run."""

_KINDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}

Json = dict[str, Any]


def export(
    session: Session,
    genome: Sequence[float],
    result: Mapping[str, Any],
    path: Path,
    options: ExportSettings,
    recovered: Mapping[str, torch.Tensor] | None = None,
) -> Exported:
    """Write ``genome``'s model to the file ``path``, and its card beside it; check it in llama.cpp.

    ``recovered``: its weights by name, if it was recovered as ``result`` says. Raises :class:`evoprune.InputError`.
    """
    base = check(session, genome, options)
    from problems.language_model.gguf.runtime import checked, compared
    from problems.language_model.gguf.write import contents

    run, expected = of_what_is_written(run_record(result), recovered)
    refuse_other_inputs(session, run)
    half = _KINDS[options.dtype] if options.dtype else None
    resident, report = session.resident, session.texts.report
    session.transform.apply(session.transform.dense)
    top = min(session.settings.kl_top, resident.forward.vocabulary)
    dense = Divergence(report.predictions, top)
    session.fitness.measure.total(report.tokens, dense.learn)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:  # the dense model may be larger than /tmp
        source = Path(scratch) / "dense.gguf"
        if not options.untimed:
            contents(resident.model, base, {}, half).write(source)
        session.transform.finalise(genome)
        model = copy_of(resident.model, resident.model.dtype) if recovered else resident.model
        held = put_recovered(model, genome, recovered or {}, session.transform)
        made = contents(model, base, held, half)
        made.write(path)
        found = checked(path, report, dense)
        times = None if options.untimed else compared(source, path, found)
    ours = Measure(Forward(model), session.settings.batch_tokens) if recovered else session.fitness.measure
    own = {"run_perplexity": expected, "run_divergence": ours.value(report.tokens, dense)}
    found |= {"tolerance": TOLERANCE, "kl_top": top, **own}
    faults = _faults(found)
    facts = _facts(session, run, model, path) | {
        "kinds": dict(Counter(made.kinds.values())),
        "architecture": made.layout.architecture,
        "check": {name: finite(value) if isinstance(value, float) else value for name, value in found.items()},
        "runtime": times,
    }
    about(path, CARD).write_text(card(run, facts, path.name), encoding="utf-8")
    return Exported(facts, list(told(facts)), faults)


def refuse_without_packages() -> None:
    """Raise :class:`evoprune.InputError` where a package is missing that writes .gguf files, or runs them."""
    for name in ("gguf", "llama_cpp_py_sync"):
        if find_spec(name) is None:
            raise InputError(f".gguf files need the package {name}; pip install 'evoprune[gguf]'")


def check(session: Session, genome: Sequence[float], options: ExportSettings) -> Any:
    """The base of the model. Raises :class:`evoprune.InputError` for what :func:`export` would refuse later.

    That is a missing package, and what llama.cpp has no form for. The model of ``genome`` is resident afterwards.
    """
    refuse_without_packages()
    from problems.language_model.gguf.find import find_base
    from problems.language_model.gguf.layout import lay_out

    session.transform.apply(session.transform.dense)
    base = find_base(session.resident, options.base or session.transform.base)
    session.transform.apply(genome)
    lay_out(session.resident.model, base)
    return base


setattr(export, "check", check)  # noqa: B010 - functions have no such attribute to mypy


def _faults(check: Json) -> list[str]:
    """How what llama.cpp found differs from the run."""
    if "failure" in check:
        return [check["failure"]]
    found, expected = check["perplexity"], check["run_perplexity"]
    if expected is not None and abs(found / expected - 1) <= TOLERANCE:
        return []
    return [
        f"perplexity {found:.6g} in llama.cpp, but the run's is {plain(expected)} (tolerance {TOLERANCE:g}, relative)"
    ]


def _facts(session: Session, run: RunRecord, model: Any, path: Path) -> Json:
    matrices = find_matrices(model)
    counted = {matrix.name: zeros([matrix]) for matrix in matrices}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    size = path.stat().st_size
    return described(session, run, matrices, counted) | {
        "evoprune": __version__,
        "bytes": size,
        "bits_per_weight": 8 * size / parameters,
        "sha256": {path.name: sha256_of(path)},
    }
