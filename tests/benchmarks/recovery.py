"""Recovers several models of one problem alike, and says how well earlier scores rank what training gives.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.recovery OUT.jsonl PROBLEM.yaml --genomes GENOMES.json \\
        --tokens 4096 51200 --set problem.model=MODEL

GENOMES.json holds genomes by name; ``dense`` and ``uniform`` are known besides. How they are trained is the problem's
``recover``, as in ``--set problem.recover.train=norms``. A line of OUT.jsonl is a model and a number of tokens; what it
holds already is not computed again, so the command may be interrupted. The tables say: the report text before and after
training, the distance from the dense model trained alike, and, where there are several models, the rank correlation
(Spearman) of each earlier score with what the most tokens give.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

from evoprune import InputError
from evoprune.experiment.resolve import resolve_file
from evoprune.problems.language_model.distillation.recover import recover
from evoprune.problems.language_model.distillation.settings import RecoverSettings
from evoprune.problems.language_model.distillation.text import RecoveryText, recovery_text
from evoprune.problems.language_model.evaluation.measure import Measure
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.problem import LanguageModel
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.results.learning_curve import criterion, criterion_values
from evoprune.problems.language_model.results.result import EVOLVED
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.windows import cut_windows
from tests.benchmarks.results import Line, Results


class Compared:
    """The models of one problem, each trained alike."""

    def __init__(self, problem: LanguageModel, genomes: Mapping[str, Sequence[float]], other: str | None) -> None:
        self._problem, self.genomes = problem, genomes
        self._session = problem.session
        self._other = other and self._windows(other)

    def _windows(self, source: str) -> Any:
        name, _, split = source.partition("@")
        text = TextSettings(
            source=name, split=split or None, window=self._session.texts.report.tokens.shape[1], windows=8
        )
        return cut_windows(text, self._session.resident.tokenizer, "other").tokens

    def line(self, name: str, settings: RecoverSettings) -> Line:
        """Score and train one of them."""
        genome, session = list(self.genomes[name]), self._session
        search = self._problem.evaluate(genome).values[0]
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            recovered = recover(
                FinalModel(session, genome), {}, settings, self._text(settings), Path(folder) / "recovery"
            )
        row = recovered.rows[EVOLVED].model_dump() | {
            "search": search,
            "cpu_minutes": (time.process_time() - start) / 60,
        }
        if self._other is not None:
            row |= self._forgotten(genome, recovered.weights)
        return _key(name, settings) | {"asked": settings.tokens} | row

    def _text(self, settings: RecoverSettings) -> RecoveryText:
        return recovery_text(settings, self._session)

    def _forgotten(self, genome: list[float], weights: Mapping[str, Any]) -> Line:
        """The perplexity on the other text, with the weights as they were and as trained."""
        transform = self._session.transform
        found = []
        for recovered in ({}, weights):
            model = FinalModel(self._session, genome, recovered).copy().model
            transform.apply(transform.dense)
            found.append(Measure(Forward(model), None).perplexity(self._other))
        return dict(zip(("other_before", "other_after"), found, strict=True))


def _recover(settings: Any, tokens: int) -> RecoverSettings:
    """The problem's own ``recover``, of so many ``tokens``."""
    own = settings.recover or RecoverSettings()
    fields = own.model_dump(include=set(RecoverSettings.model_fields))
    return RecoverSettings(**fields | {"tokens": tokens, "time": None, "alike": None})


def _key(name: str, settings: RecoverSettings) -> Line:
    return {"name": name, "recovery": settings.model_dump()}


def table(lines: Sequence[Line]) -> str:
    """A Markdown table of all models, those trained on the same number of tokens together."""
    head = "| tokens | trained | model | before | after | nats behind dense alike | KL | other text | CPU minutes |"
    rows = [head, "|---|---|---|---|---|---|---|---|---|"]
    for line in sorted(lines, key=lambda line: (line["asked"], line["perplexity_after"] or math.inf)):
        alike = [
            each["perplexity_after"] for each in lines if each["name"] == "dense" and each["asked"] == line["asked"]
        ]
        behind = f"{math.log(line['perplexity_after'] / alike[0]):.3f}" if alike else "-"
        other = f"{line['other_before']:.2f} → {line['other_after']:.2f}" if "other_after" in line else "-"
        rows.append(
            f"| {line['asked']:,} | {line['trained'].split(',')[0]} | {line['name']} | {line['perplexity_before']:.2f} "
            f"| {line['perplexity_after']:.2f} | {behind} | {line['divergence_before']:.3f} → "
            f"{line['divergence_after']:.3f} | {other} | {line['cpu_minutes']:.1f} |"
        )
    return "\n".join(rows)


def ranks(lines: Sequence[Line]) -> str:
    """The rank correlation of each earlier score with what the most tokens give, on held-out windows and report text.

    By divergence where nothing is learned of the text itself, else by perplexity.
    """
    each = {
        asked: {line["name"]: line for line in lines if line["asked"] == asked and line["name"] != "dense"}
        for asked in sorted({line["asked"] for line in lines})
    }
    *shorter, most = each
    final = each[most]
    what = criterion(next(iter(final.values()))["curve"])
    held_out = {name: criterion_values(line["curve"]) for name, line in final.items()}
    results = [
        {name: min(values) for name, values in held_out.items()},
        {name: line[f"{what}_after"] for name, line in final.items()},
    ]
    scores = {"search text, not trained": {name: line["search"] for name, line in final.items()}}
    scores["held-out windows, not trained"] = {name: values[0] for name, values in held_out.items()}
    for asked in shorter:
        best = {name: min(criterion_values(line["curve"])) for name, line in each[asked].items()}
        scores[f"held-out windows after {asked:,} tokens"] = best
    first = next(iter(final.values()))["curve"][1]["tokens"]
    scores[f"held-out windows after its first {first:,} tokens"] = {name: v[1] for name, v in held_out.items()}
    scores["report text, not trained"] = {name: line[f"{what}_before"] for name, line in final.items()}
    rows = [
        f"Spearman with the {what} after {most:,} tokens:",
        "",
        "| score | held-out windows | report text | models | its best is, on these |",
        "|---|---|---|---|---|",
    ]
    for label, score in scores.items():
        names = [name for name in final if name in score]
        chosen, cells = min(names, key=score.__getitem__), []
        for result in results:
            found = [result[name] for name in names]
            cells.append(f"{spearmanr([score[name] for name in names], found).statistic:.2f}")
        places = " and ".join(str(sorted(result.values()).index(result[chosen]) + 1) for result in results)
        rows.append(f"| {label} | {' | '.join(cells)} | {len(names)} | number {places} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the .jsonl file to write or to complete")
    parser.add_argument("problem", help="the YAML file of a problem on a language model")
    parser.add_argument("--genomes", type=Path, help="a JSON file: genomes by name")
    parser.add_argument("--names", nargs="+", help="which to train (default: all of the file)")
    parser.add_argument("--tokens", type=int, nargs="+", default=[51_200])
    parser.add_argument(
        "--other-text", metavar="SOURCE[@SPLIT]", help="a text of another kind, to see what is forgotten"
    )
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE")
    given = parser.parse_args(arguments)
    try:
        resolved = resolve_file(given.problem, given.sets)
        all_settings = [_recover(resolved.settings, tokens) for tokens in given.tokens]
        genomes = json.loads(given.genomes.read_text()) if given.genomes else {}
        names = given.names or list(genomes)
        results = Results(given.out, {"problem": given.problem, "sets": given.sets, "other_text": given.other_text})
        asked = [(name, settings) for settings in all_settings for name in names]
        if missing := [each for each in asked if results.lacks(**_key(*each))]:
            problem = resolved.problem(resolved.settings.model_copy(update={"recover": None}))
            assert isinstance(problem, LanguageModel)
            known = {**problem.references(), **problem.contenders, **genomes}
            if unknown := [name for name in names if name not in known]:
                raise InputError(f"no genome is named {', '.join(unknown)}; known are {', '.join(known)}", "--names")
            compared = Compared(problem, known, given.other_text)
            for name, settings in missing:
                results.add(compared.line(name, settings))
    except (InputError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    lines = results.lines
    print(table(lines))
    if len({line["name"] for line in lines}) > 3:
        print("", ranks(lines), sep="\n")


if __name__ == "__main__":
    main()
