"""Train genomes of one problem alike, among them those that no run of ours found; prints a table.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.recovery FOLDER PROBLEM.yaml --genomes GENOMES.json \\
        --set problem.model=MODEL --set 'problem.recover={batch: 1, tokens: 51200}'

GENOMES.json holds genomes by name; ``dense`` and ``uniform`` are known besides. They are trained as the problem's
``recover`` says. FOLDER holds the checkpoints: the same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from evoprune import InputError
from evoprune.experiment.resolve import resolve_file
from evoprune.problems.language_model.distillation.recover import recover
from evoprune.problems.language_model.distillation.settings import RecoverSettings
from evoprune.problems.language_model.distillation.text import recovery_text
from evoprune.problems.language_model.problem import LanguageModel
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.results.result import EVOLVED
from tests.benchmarks.common import head, row


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("problem", help="the YAML file of a problem on a language model")
    parser.add_argument("--genomes", type=Path, required=True, help="a JSON file: genomes by name")
    parser.add_argument("--alike", default="dense,uniform", help="known genomes to train, too")
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE")
    given = parser.parse_args()
    try:
        resolved = resolve_file(given.problem, given.sets)
        fields = resolved.settings.recover.model_dump(include=set(RecoverSettings.model_fields))
        problem = resolved.problem(resolved.settings.model_copy(update={"recover": None}))
        assert isinstance(problem, LanguageModel)
        session, genomes = problem.session, json.loads(given.genomes.read_text())
        first, *others = genomes
        settings = RecoverSettings(**fields | {"alike": ",".join([*others, *given.alike.split(",")])})
        known = {**problem.references(), **problem.baselines.contenders, **genomes}
        final, text = FinalModel(session, genomes[first]), recovery_text(settings, session)
        rows = recover(final, known, settings, text, given.folder).rows
    except (InputError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    print(head("model", "perplexity: before", "after", "divergence: before", "after", "behind dense", "minutes"))
    for name, own in rows.items():
        numbers = own.perplexity_before, own.perplexity_after, own.divergence_before, own.divergence_after
        cells = ["" if each is None else f"{each:.5g}" for each in (*numbers, own.behind_dense, own.minutes)]
        print(row(first if name == EVOLVED else name, *cells))


if __name__ == "__main__":
    main()
