"""Exports a model as a folder for transformers, and checks it in a fresh process."""

import json
import math
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from evoprune import Exported
from evoprune.plugins import finite, plain
from evoprune.problems.language_model.export import ragged_model
from evoprune.problems.language_model.export.card import card
from evoprune.problems.language_model.export.facts import Check, ExportFacts
from evoprune.problems.language_model.export.format import ExportFormat, Json
from evoprune.problems.language_model.export.runtime import benchmark, compute_dtype, runtime_lines
from evoprune.problems.language_model.models.device import (
    ProcessFailed,
    environment,
    free_memory,
    release_memory,
    run_python,
)
from evoprune.problems.language_model.models.hub import quiet
from evoprune.problems.language_model.models.tensor_file import saving
from evoprune.problems.language_model.models.weight_files import bytes_of, stored_dtype, weight_files
from evoprune.problems.language_model.results.figures import draw_recovery
from evoprune.problems.language_model.results.result import LanguageModelResult
from evoprune.problems.language_model.results.summary import about, verdict

_PLAIN_USAGE = (
    'python -ic "import sys, transformers; model, tokenizer = (kind.from_pretrained(sys.argv[1]) '
    'for kind in (transformers.AutoModelForCausalLM, transformers.AutoTokenizer))" {out}'
)
_RAGGED_USAGE = 'python -ic "import sys, evoprune; model, tokenizer = evoprune.load(sys.argv[1])" {out}'
_ROOM = 1.5  # free memory of a GPU that the check needs, in bytes per byte of weights
_TIMING = 4  # time to measure speed and memory, at least, as a multiple of that of the check: models load four times
_TOLERANCE, _HALF_TOLERANCE = 1e-3, 2e-2  # nats a token: both models in float32; either in 16 bits
_ROUNDING = 0.15  # standard deviation of the loss of a token in 16 bits from that in float32, in nats


class Folder(ExportFormat):
    """A folder that transformers loads, or evoprune if layers differ in shape."""

    def write(self, run: LanguageModelResult, place: Path) -> Exported:
        self.check()
        session, final, deadline = self.session, self.final, self.deadline()
        settings, device, run_dtype = session.settings, session.resident.device, session.resident.dtype
        dtype = self.options.dtype or (run_dtype if run_dtype != "float32" else stored_dtype(settings) or run_dtype)
        model, encoded = final.copy(getattr(torch, dtype))
        with quiet(), saving(place):
            session.resident.tokenizer.save_pretrained(place)
            session.transform.write(model)
            if session.transform.facts.plain:
                model.save_pretrained(place)
            else:
                replayed = session.transform.replayed_genes(final.genome)
                ragged_model.save(model, settings.transforms, replayed, place)  # type: ignore[attr-defined]
        facts = self.facts(run, model, sorted(place.glob("*.safetensors")))
        facts |= {"dtype": dtype, "ragged": ragged_model.is_ragged(place)}
        facts["types"] = dict(Counter(each.kind for each in encoded.values()))
        start = time.monotonic()
        facts["check"], faults = self._checked(place, facts, run.final_perplexity)
        checking = time.monotonic() - start
        sparsity = facts["sparsity"]["prunable"]
        counts = session.transform.facts.sparse or not final.recovered  # trained weights may be rounded to other zeros
        if run.sparsity and counts and abs(sparsity - run.sparsity.prunable) > 1e-4:
            faults.append(f"sparsity {sparsity:.6f}, but the run's is {run.sparsity.prunable:.6f}")
        source = bytes_of(weight_files(settings))
        summary = [
            f"{facts['bytes']:,} bytes of weights in {dtype}" + (f"; the source has {source:,}" if source else ""),
            (f"sparsity {sparsity:.4%} of the prunable weights, counted in what is written; " if run.sparsity else "")
            + f"perplexity {facts['check']['perplexity'] or math.inf:.6g}, "
            f"the run's {plain(run.final_perplexity)} in {run_dtype}",
        ]
        if not self.options.untimed:
            runtime, left = None, deadline - time.monotonic()
            if left > _TIMING * checking:
                runtime = benchmark(session, compute_dtype(dtype, device), place, left)
            summary += runtime_lines(runtime) if runtime else ["speed and memory could not be measured"]
            facts["runtime"] = runtime
        if run.recovered:
            how = run.protocol.recovery
            draw_recovery(run.recovered, how.held_out_dense if how else None, place, about(settings, ()))
        typed = ExportFacts.read(facts)
        (place / "README.md").write_text("\n".join([*card(typed), ""]), encoding="utf-8")
        usage = _RAGGED_USAGE if typed.ragged else _PLAIN_USAGE
        return Exported(facts, summary, faults, verdict(typed, typed.bytes), usage)

    def _checked(self, folder: Path, facts: Json, perplexity: float | None) -> tuple[Json, list[str]]:
        """Load ``folder`` in a fresh process; return the keys of :class:`.facts.Check`, and faults.

        ``perplexity``: of the run, on the report text.
        """
        session, dtype = self.session, facts["dtype"]
        report = session.texts.retokenised(session.texts.report)
        zeros = {name: matrix["zeros"] for name, matrix in facts["sparsity"]["matrices"].items()}
        device = session.resident.device
        if device.type != "cpu":
            release_memory(device)  # cached memory, which the other process needs
            if free_memory(device) < _ROOM * facts["bytes"]:
                device = torch.device("cpu")
        windows, window = report.tokens.shape
        with tempfile.TemporaryDirectory() as scratch:
            text, job = Path(scratch) / "text.txt", Path(scratch) / "job.json"
            text.write_text(report.first_text, encoding="utf-8", newline="")
            task = {
                "folder": str(folder.resolve()), "matrices": list(zeros), "text": str(text), "window": window,
                "windows": windows, "begin": report.bos_token is not None, "dtype": compute_dtype(dtype, device),
                "device": str(device), "trust_remote_code": session.settings.trust_remote_code,
                "ragged": facts["ragged"], "rows": report.tokens.tolist() if report.independent else None,
            }  # fmt: skip
            job.write_text(json.dumps(task), encoding="utf-8")
            script = Path(__file__).with_name("check.py")
            variables = (environment() if facts["ragged"] else dict(os.environ)) | {"HF_HUB_OFFLINE": "1"}
            try:
                measured = run_python("-P", str(script), str(job), cwd=scratch, env=variables)
            except ProcessFailed as failed:
                measured = {"perplexity": math.inf, "tokens_sha256": None, "failure": f"cannot be loaded: {failed}"}
        half = {dtype, session.resident.dtype} != {"float32"}
        check = {name: value for name, value in measured.items() if name != "zeros"} | {
            "perplexity": finite(measured["perplexity"] ** report.loss_scale),
            "run_perplexity": perplexity,
            "tolerance": _HALF_TOLERANCE if half else _TOLERANCE,
            "loss_error": half * _ROUNDING / math.sqrt(report.predictions),
        }
        faults = list(filter(None, [Check.model_validate(check).fault]))
        if "failure" in measured:
            return check, faults
        if wrong := [name for name, count in zeros.items() if measured["zeros"].get(name) != count]:
            faults.append(f"zeros were lost or gained in {', '.join(wrong)}")
        if measured["tokens_sha256"] != report.sha256:
            faults.append("the written tokenizer gives other tokens for the report text")
        return check, faults
