"""The export of a run's best candidate as a .gguf file, which llama.cpp runs, and runs in the check."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from evoprune import CARD, Exported, InputError, __version__, about, finite, plain
from problems.evaluation.measure import Measure
from problems.evaluation.objectives import Divergence
from problems.evaluation.session import Session
from problems.export.format import ExportFormat
from problems.export.gguf_card import card, told
from problems.export.write import (
    described,
    of_what_is_written,
    put_recovered,
    refuse_other_inputs,
    sha256_of,
)
from problems.models.blocks import count_zeros, find_matrices
from problems.models.forward import Forward
from problems.models.load import copy_of
from problems.results.run_record import RunRecord, run_record

TOLERANCE = 1e-2
"""The largest relative difference between the perplexities in llama.cpp, which rounds activations, and of the run."""

_KINDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}

Json = dict[str, Any]


class GgufFile(ExportFormat):
    """A .gguf file, with its card beside it; checked in llama.cpp."""

    def check(self) -> None:
        """Refuse what llama.cpp has no form for, and a missing package."""
        self._base()

    def write(
        self, result: Mapping[str, Any], place: Path, recovered: Mapping[str, torch.Tensor] | None = None
    ) -> Exported:
        """See :meth:`ExportFormat.write`."""
        base = self._base()  # before what follows is imported: a package may be missing
        from problems.gguf.runtime import checked, compared
        from problems.gguf.write import contents

        session, options = self.session, self.options
        run, expected = of_what_is_written(run_record(result), recovered)
        refuse_other_inputs(session, run)
        half = _KINDS[options.dtype] if options.dtype else None
        resident, report = session.resident, session.texts.report
        session.transform.apply(session.transform.dense)
        top = min(session.settings.kl_top, resident.forward.vocabulary)
        dense = Divergence(report.predictions, top)
        session.fitness.measure.total(report.tokens, dense.learn)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:  # the dense model may be larger than /tmp
            source = Path(scratch) / "dense.gguf"
            if not options.untimed:
                contents(resident.model, base, {}, half).write(source)
            session.transform.finalise(self.genome)
            model = copy_of(resident.model, resident.model.dtype) if recovered else resident.model
            held = put_recovered(model, self.genome, recovered or {}, session.transform)
            made = contents(model, base, held, half)
            made.write(place)
            found = checked(place, report, dense)
            times = None if options.untimed else compared(source, place, found)
        ours = Measure(Forward(model), session.settings.batch_tokens) if recovered else session.fitness.measure
        own = {"run_perplexity": expected, "run_divergence": ours.value(report.tokens, dense)}
        found |= {"tolerance": TOLERANCE, "kl_top": top, **own}
        faults = _faults(found)
        facts = _facts(session, run, model, place) | {
            "kinds": dict(Counter(made.kinds.values())),
            "architecture": made.layout.architecture,
            "check": {name: finite(value) if isinstance(value, float) else value for name, value in found.items()},
            "runtime": times,
        }
        about(place, CARD).write_text(card(run, facts, place.name), encoding="utf-8")
        return Exported(facts, list(told(facts)), faults)

    def _base(self) -> Any:
        """The base of the model, which is resident afterwards. Raises as :meth:`check`."""
        refuse_without_packages()
        from problems.gguf.find import find_base
        from problems.gguf.layout import lay_out

        transform, resident = self.session.transform, self.session.resident
        transform.apply(transform.dense)
        base = find_base(resident, self.options.base or transform.base)
        transform.apply(self.genome)
        lay_out(resident.model, base)
        return base


def refuse_without_packages() -> None:
    """Raise :class:`evoprune.InputError` where a package is missing that writes .gguf files, or runs them."""
    for name in ("gguf", "llama_cpp_py_sync"):
        if find_spec(name) is None:
            raise InputError(f".gguf files need the package {name}; pip install 'evoprune[gguf]'")


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
    counted = {matrix.name: count_zeros([matrix]) for matrix in matrices}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    size = path.stat().st_size
    return described(session, run, matrices, counted) | {
        "evoprune": __version__,
        "bytes": size,
        "bits_per_weight": 8 * size / parameters,
        "sha256": {path.name: sha256_of(path)},
    }
