"""Exports a model as a folder, as ``save_pretrained`` does, and checks it in a fresh process."""

import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from evoprune import Exported, InputError
from evoprune.console.formatting import plain
from evoprune.files.json_files import finite
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.export import ragged_model
from evoprune.problems.language_model.export.card import card
from evoprune.problems.language_model.export.facts import Check, ExportFacts
from evoprune.problems.language_model.export.format import ExportFormat, Json, file_facts
from evoprune.problems.language_model.export.runtime import computing, lines, runtimes
from evoprune.problems.language_model.models.device import free_memory, release_memory
from evoprune.problems.language_model.models.load import quiet, stored_dtype
from evoprune.problems.language_model.models.processes import Failed, environment, run_python
from evoprune.problems.language_model.models.tensor_file import saving
from evoprune.problems.language_model.models.weight_files import bytes_of, weight_files
from evoprune.problems.language_model.results.figures import draw_recovery
from evoprune.problems.language_model.results.result import LanguageModelResult
from evoprune.problems.language_model.results.summary import about, verdict
from evoprune.problems.language_model.texts.windows import Windows

_ROOM = 1.5  # the check takes a GPU if so many times the bytes of the weights are free
_TOLERANCE, _HALF_TOLERANCE = 1e-3, 2e-2  # nats a token by which losses may differ: both in float32; either in 16 bits
_ROUNDING = 0.15  # nats, the standard deviation of the loss of a token in 16 bits from that in float32


class Folder(ExportFormat):
    """A folder that transformers loads, or evoprune where layers differ in shape."""

    def check(self) -> None:
        if self.options.base:
            raise InputError("a folder takes nothing from a .gguf file: give OUT.gguf, or leave it out", "--base")

    def write(self, run: LanguageModelResult, place: Path) -> Exported:
        self.check()
        session, final = self.session, self.final
        settings, device, run_dtype = session.settings, session.resident.device, session.resident.dtype
        dtype = self.options.dtype or _own_dtype(session)
        model, encoded = final.copy(getattr(torch, dtype))
        with quiet(), saving(place):
            session.resident.tokenizer.save_pretrained(place)
            if session.transform.plain:
                session.transform.write(model)
                model.save_pretrained(place)
            else:
                shaping = session.transform.shaping(final.genome)
                ragged_model.save(model, settings.transforms, shaping, place)  # type: ignore[attr-defined]
        facts = self.facts(run, model, []) | folder_facts(place, dtype)
        facts["types"] = dict(Counter(each.kind for each in encoded.values()))
        zeros = {name: matrix["zeros"] for name, matrix in facts["sparsity"]["matrices"].items()}
        report = session.texts.read(session.texts.report)
        facts["check"], faults = check_folder(
            place, zeros, run.final_perplexity, report=report, device=device, dtype=dtype,
            run_dtype=run_dtype, trust=settings.trust_remote_code,
        )  # fmt: skip
        sparsity = facts["sparsity"]["prunable"]
        counts = session.transform.sparse or not final.recovered  # trained weights may be rounded to other zeros
        if counts and abs(sparsity - run.sparsity.prunable) > 1e-4:
            faults.append(f"sparsity {sparsity:.6f}, but the run's is {run.sparsity.prunable:.6f}")
        source = bytes_of(weight_files(settings))
        summary = [
            f"{facts['bytes']:,} bytes of weights in {dtype}" + (f"; the source has {source:,}" if source else ""),
            f"sparsity {sparsity:.4%} of the prunable weights, counted in what is written; "
            f"perplexity {facts['check']['perplexity'] or math.inf:.6g}, "
            f"the run's {plain(run.final_perplexity)} in {run_dtype}",
        ]
        if not self.options.untimed:
            facts["runtime"] = runtimes(session, computing(dtype, device), place)
            summary += lines(facts["runtime"]) if facts["runtime"] else ["speed and memory could not be measured"]
        if run.recovered:
            how = run.protocol.recovery
            draw_recovery(run.recovered, how.held_out_dense if how else None, place, about(settings, ()))
        typed = ExportFacts.read(facts)
        (place / "README.md").write_text(card(typed), encoding="utf-8")
        return Exported(facts, summary, faults, verdict(typed, typed.bytes))


def _own_dtype(session: Session) -> str:
    """The dtype of the model's source, so that files are no larger; the run's, if that is smaller."""
    run_dtype = session.resident.dtype
    return run_dtype if run_dtype != "float32" else stored_dtype(session.settings) or run_dtype


def folder_facts(folder: Path, dtype: str) -> Json:
    """Version, form, size and hashes of the weights in ``folder``."""
    files = file_facts(sorted(folder.glob("*.safetensors")))
    return files | {"dtype": dtype, "ragged": ragged_model.is_ragged(folder)}


def check_folder(
    folder: Path, zeros: Mapping[str, int], perplexity: float | None, *, report: Windows,
    device: torch.device, dtype: str, run_dtype: str, trust: bool,
) -> tuple[Json, list[str]]:  # fmt: skip
    """Load ``folder`` in a fresh process: return the figures for ``evoprune.json``, and differences from the run.

    ``zeros``: expected of each matrix. ``perplexity``: expected on ``report``, measured in ``run_dtype``. ``dtype``:
    that of the files. ``trust``: whether the model's own code may run.
    """
    found = _in_fresh_process(folder, list(zeros), report, device, dtype, trust)
    half = {dtype, run_dtype} != {"float32"}
    facts = {name: value for name, value in found.items() if name != "zeros"}
    facts |= {"perplexity": finite(found["perplexity"] ** report.factor), "run_perplexity": perplexity}
    facts |= {"tolerance": _HALF_TOLERANCE if half else _TOLERANCE}
    facts |= {"loss_error": half * _ROUNDING / math.sqrt(report.predictions)}
    faults = list(filter(None, [Check.model_validate(facts).fault]))
    if "failure" in found:
        return facts, faults
    if wrong := [name for name, count in zeros.items() if found["zeros"].get(name) != count]:
        faults.append(f"zeros were lost or gained in {', '.join(wrong)}")
    if found["tokens_sha256"] != report.sha256:
        faults.append("the written tokenizer gives other tokens for the report text")
    return facts, faults


def _in_fresh_process(
    folder: Path, matrices: list[str], report: Windows, device: torch.device, dtype: str, trust: bool
) -> dict[str, Any]:
    windows, window = report.tokens.shape
    ragged = ragged_model.is_ragged(folder)
    if device.type == "cuda":
        release_memory(device)  # the other process needs the memory that this one only caches
        if free_memory(device) < _ROOM * bytes_of(folder.glob("*.safetensors")):
            device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as scratch:
        text, job = Path(scratch) / "text.txt", Path(scratch) / "job.json"
        text.write_text(report.beginning, encoding="utf-8", newline="")
        task = {
            "folder": str(folder.resolve()), "matrices": matrices, "text": str(text), "window": window,
            "windows": windows, "begin": report.begin is not None, "dtype": computing(dtype, device),
            "device": str(device), "trust_remote_code": trust, "ragged": ragged,
            "rows": report.tokens.tolist() if report.apart else None,
        }  # fmt: skip
        job.write_text(json.dumps(task), encoding="utf-8")
        script = Path(__file__).with_name("check.py")
        variables = (environment() if ragged else dict(os.environ)) | {"HF_HUB_OFFLINE": "1"}
        try:
            return run_python("-P", str(script), str(job), cwd=scratch, env=variables)
        except Failed as failed:
            return {"perplexity": math.inf, "tokens_sha256": None, "failure": f"cannot be loaded: {failed}"}
