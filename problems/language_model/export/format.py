"""The interface of export formats, which write the model of a run for other programs.

A format of one file is a class that is registered by the suffix of such files, in the group of entry points
``evoprune.export_formats``, say ``npz = mypackage.formats:Npz``. Then ``python -m evoprune export RUN OUT.npz`` calls::

    class Npz(ExportFormat):
        def write(self, run, place):
            model, _ = self.final.copy(torch.float16)
            arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
            numpy.savez(place, **arrays)
            with numpy.load(place) as found:
                faults = [name for name, array in arrays.items() if not numpy.array_equal(found[name], array)]
            return Exported(self.facts(run, model, [place]), [f"{place.stat().st_size:,} bytes"], faults)

The format ``gguf`` also has options, measures its file, and writes a card. The module of a format is imported for the
help of commands: it imports torch in functions alone.
"""

from __future__ import annotations

import hashlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import create_model

from evoprune import Exported, InputError, __version__
from evoprune.plugins import EVOLVED, Shown, Table, find_plugin, plugin_names
from evoprune.problems.language_model.export import FORMATS, ExportOptions
from evoprune.problems.language_model.export.facts import ExportFacts
from evoprune.problems.language_model.export.page import comparison, maps, models
from evoprune.problems.language_model.results.result import LanguageModelResult
from evoprune.problems.language_model.results.summary import LABELS

if TYPE_CHECKING:  # these import torch
    from evoprune.problems.language_model.evaluation.session import Session
    from evoprune.problems.language_model.models.resident import Resident
    from evoprune.problems.language_model.results.final_model import FinalModel
    from evoprune.problems.language_model.texts.windows import Windows

Json = dict[str, Any]


@dataclass(frozen=True)
class ExportFormat(ABC):
    """Writes the model ``final``, whose weights ``final.copy()`` returns, recovered ones included.

    ``Options``: of the command ``export``. ``Facts``: the class of ``evoprune.json``.
    """

    final: FinalModel
    options: Any

    Options: ClassVar[type[ExportOptions]] = ExportOptions
    Facts: ClassVar[type[ExportFacts]] = ExportFacts

    @classmethod
    def missing(cls) -> str | None:
        """Return the command that installs missing packages; None if none is missing."""
        return None

    @classmethod
    def shown(cls, facts: Any) -> Shown:
        """Return the part of a run's page on an export with ``facts``, of the class :attr:`Facts`."""
        return Shown([*comparison(facts)], [*maps(facts)], models(facts)[LABELS[EVOLVED]])

    @classmethod
    def compare(cls, file: Path, resident: Resident, texts: Sequence[Windows], protocol: Json) -> Table:  # noqa: ARG003
        """Compare ``file`` with its source, the ``resident`` model, on ``texts``: ``eval FILE --against SOURCE``.

        ``protocol``: of the source and the first text. Raises :class:`evoprune.InputError`.
        """
        raise InputError("has a format that is not compared with its source", str(file))

    @property
    def session(self) -> Session:
        """Model, texts and transform of the run; the dense model is resident, or that of the genome."""
        return self.final.session

    def deadline(self) -> float:
        """Return the time, by ``time.monotonic``, when the option ``seconds`` has passed from now."""
        return time.monotonic() + (math.inf if self.options.seconds is None else self.options.seconds)

    def check(self) -> None:
        """Raise :class:`evoprune.InputError` for options that :meth:`write` refuses; a recovery calls it first."""
        given = self.options.model_fields_set - self.Options.model_fields.keys()
        for suffix, other in _formats():
            for option in sorted(given & other.Options.model_fields.keys()):
                raise InputError(f"is for OUT.{suffix} alone: leave it out", f"--{option}")

    def draft(self, place: Path) -> bool:  # noqa: ARG002 - a default
        """Write the model to the file ``place``, unmeasured; see :meth:`evoprune.interfaces.export.Exporting.draft`."""
        return False

    @abstractmethod
    def write(self, run: LanguageModelResult, place: Path) -> Exported:
        """Write the model to ``place``, a new file or an empty folder, and read it back.

        Return the :meth:`facts`, lines for people, and faults, which mark the export as unfit: differences from the
        model, or from ``run.final_perplexity`` on ``session.texts.report``.
        """

    def facts(self, run: LanguageModelResult, model: Any, files: Iterable[Path]) -> Json:
        """Return facts for ``evoprune.json`` on ``model`` in ``files``: version, hashes, sparsity, result."""
        import torch

        from evoprune.problems.language_model.models.blocks import find_matrices, find_mixtures

        resident, zeros = self.session.resident, {each: each.zeros for each in find_matrices(model)}
        wholes = {"prunable": resident.prunable_weights, "model": resident.parameters}
        experts = [stack.weight for mixture in find_mixtures(model) for stack in mixture.stacks]
        remaining = sum(each.size - count for each, count in zeros.items())
        removed = wholes["prunable"] - remaining - sum(map(int, map(torch.count_nonzero, experts)))
        matrices = {
            each.name: {"block": each.block, "zeros": count, "weights": each.size, "sparsity": count / each.size}
            for each, count in zeros.items()
        }
        shares = {name: removed / whole for name, whole in wholes.items()}
        hashes, size = {}, 0
        for path in files:
            with path.open("rb") as file:
                hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
            size += path.stat().st_size
        facts = {
            "base_model": public_name(run.protocol.model),
            "transform": self.session.transform.facts.describe(),
            "sparsity": {**shares, "denominators": wholes, "matrices": matrices},
            "chosen": run.winner,
            "seed": run.seed,
            "evaluations": run.evaluations,
        }
        return {"evoprune": __version__, "bytes": size, "sha256": hashes} | run.export_keys() | facts


def _formats() -> Iterator[tuple[str, type[ExportFormat]]]:
    """Yield suffixes and formats; one that cannot be imported is reported when it is used."""
    for name in plugin_names(FORMATS):
        with suppress(InputError):
            yield name, find_plugin(FORMATS, name)


def export_options() -> type[ExportOptions]:
    """Return the options of all registered formats together."""
    found = dict.fromkeys(each.Options for _, each in _formats() if each.Options is not ExportOptions)
    return create_model("ExportOptions", __base__=(*found, ExportOptions))


def format_of(facts: Mapping[str, Any]) -> type[ExportFormat]:
    """Return the format of the files in ``facts``, an ``evoprune.json``; the base class for a folder."""
    suffixes = {Path(name).suffix[1:] for name in facts.get("sha256") or ()}
    return next((own for name, own in _formats() if name in suffixes), ExportFormat)


def checked_result(final: FinalModel, run: LanguageModelResult) -> LanguageModelResult:
    """Return the result ``run`` of ``final``; raise InputError unless model, text and transform are the run's."""
    session = final.session
    if session.resident.weights_sha256 != run.protocol.weights_sha256:
        raise InputError(f"the weights are not the run's: give its model and dtype {run.protocol.dtype} by --set")
    now, before = session.texts.report.bos_token, run.protocol.report_text.begin
    if now != before:
        why = f"windows begin with {now or 'no added token'} now, and began with {before or 'none'} in the run"
        setting = f"--set problem.report_text.begin={'true' if before else 'false'}"
        raise InputError(f"{why}: give {setting}, and the same for its other texts")
    if session.texts.report.sha256 != run.protocol.report_text.sha256:
        raise InputError("the report text is not the run's: give --set problem.report_text.source=...")
    recorded = run.protocol.model_dump()
    for key, value in session.transform.facts.describe().items():
        if key in recorded and recorded[key] != value:
            raise InputError(f"{key} was {recorded[key]} in the run and is {value} now: leave it out of --set")
    return run if final.recovered else run.model_copy(update={"recovered": None})


def public_name(model: str) -> str:
    """Return a hub id, or the name of a local file or folder without its path."""
    path = Path(model)
    return path.name if path.is_absolute() or path.exists() else model
