"""The command ``prune MODEL``: loads the model, chooses a template, and fills it as the clock allows."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, ClassVar

from evoprune import Plan, Planner
from evoprune.problems.language_model.prune.goals import GOALS, Fits, Unneeded
from evoprune.problems.language_model.prune.request import checked

if TYPE_CHECKING:  # it imports torch
    from evoprune.problems.language_model.problem import LanguageModel


class Prune(Planner):
    """Make a model smaller in one command: from a goal, a text and a time to a checked export and a report.

    Without ``--out``, a .gguf file becomes one in the present folder, with the goal in its name.
    """

    help: ClassVar[str] = "make your own model smaller, in one command"
    example: ClassVar[str] = "python -m evoprune prune bundled:gpt2-mini --remove 25% --time 5m --out smaller"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("model", metavar="MODEL", help="a folder, a .gguf file, a hub id, or bundled:gpt2-mini")
        goals = parser.add_argument_group("goal", "one of these")
        for goal in GOALS:
            goals.add_argument(goal.option, metavar=goal.metavar, help=goal.help)
        add, texts, times = parser.add_argument, *(parser.add_mutually_exclusive_group() for _ in range(2))
        add("--context", type=int, metavar="N", help=f"for --fits: tokens (default: {Fits.CONTEXT})")
        told = f"for --fits: the type of keys and values (default: {Fits.CACHES[0]})"
        add("--kv", choices=Fits.CACHES, help=told)
        told = (
            "a .txt, .jsonl or .parquet file: it is divided among search, calibration and report (default: the Python "
            "documentation that comes with Python)"
        )
        texts.add_argument("--text", metavar="FILE", help=told)
        told = (
            "in place of --text: lines with prompt and answer, with prompt, choices and answer, or with messages, "
            "whose answers alone are scored"
        )
        texts.add_argument("--task", metavar="FILE.jsonl", help=told)
        told = (
            "for --out OUT.gguf: a .gguf file of the same model, whose tokenizer and metadata are copied (default: "
            "MODEL itself, if it is one)"
        )
        add("--base", metavar="FILE.gguf", help=told)
        told = "for --out OUT.gguf: llama.cpp's importance matrix of the same model, in place of the text's"
        add("--imatrix", metavar="FILE.gguf", help=told)
        told = (
            "leave out tokens that a text like this one does not need, beside a goal or alone; other languages are "
            "read worse then (may be the file of --text)"
        )
        add(Unneeded.option, metavar="FILE", help=told)
        told = "another text to measure the result on, such as one in another language; may be given more than once"
        add("--also", metavar="FILE", action="append", help=told)
        times.add_argument("--time", default="20m", help="how long it may take, as in 90s, 20m or 2h (default: 20m)")
        told = "a minute, or as much more as this model needs: the shortest --time that works"
        times.add_argument("--quick", action="store_true", help=told)
        add("--seed", type=int, default=0, help="of the search (default: 0)")

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self._request = checked(options)
        self.name = self._request.name if self._request.goal else None
        self.out = self._request.out

    @property
    def problem(self) -> type[LanguageModel]:
        from evoprune.problems.language_model.problem import LanguageModel

        return LanguageModel

    def plan(self) -> Plan | None:
        from evoprune.problems.language_model.prune.phases import Phases

        options, request = self.options, self._request
        phases = Phases(options, request)
        if request.goal is None:
            named = {"--task": options.task, "--text": options.text}
            for line in phases.overview([part for option, file in named.items() if file for part in (option, file)]):
                print(line)
            return None
        experiment = phases.experiment(options.seed)
        phases.resident.keep_for_run()
        remarks = [*request.remarks, *phases.remarks(experiment)]
        export = request.memory | ({"base": request.base} if request.base else {})
        left, room = request.clock.left, phases.room(experiment["problem"].get("budget"))
        return Plan(experiment, remarks, export, left, phases.searching, room)
