"""The command ``prune MODEL``, checked before anything is loaded: one refusal for each mistake. Imports no torch.

The engine checks the places of run and export (:mod:`evoprune.files.paths`) and the devices.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evoprune import InputError, Plan, Planner
from evoprune.plugins import OPTION, add_options, is_one_file, plugin_names, read_declared, validated
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.export.options import GgufOptions
from evoprune.problems.language_model.gguf.recipe import TensorTypes, read_importance
from evoprune.problems.language_model.gguf.sources import architecture_of
from evoprune.problems.language_model.models.settings import ModelSettings, model_fault, short_name
from evoprune.problems.language_model.models.wings import WINGS
from evoprune.problems.language_model.parts import Export
from evoprune.problems.language_model.prune.goals import SIZES, Goal
from evoprune.problems.language_model.prune.headers import Headers
from evoprune.problems.language_model.prune.options import GOALS, PruneOptions
from evoprune.problems.language_model.texts.division import short_fault
from evoprune.problems.language_model.transforms import TRANSFORMS

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
        add_options(parser, GOALS, "goal, one of these")
        add_options(parser, PruneOptions.model_fields)

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self._begun = time.monotonic()
        given = read_declared(options)
        goals = {name: text for name in GOALS if (text := given.pop(name, None)) is not None}
        self.asked = validated(PruneOptions, given, None, OPTION)
        self.goal = goal = _one_of(goals, self.asked)  # None for an overview
        self.settings = validated(ModelSettings, {"model": options.model}, "MODEL")
        model, is_gguf = self.settings.model, self.settings.model.endswith(".gguf")
        stem = short_name(model).removesuffix(".gguf")
        self.name = stem if goal else None
        self.remarks: list[str] = []
        if self.out is None and goal and is_gguf:
            self.out = Path(f"{stem}-{goal.label}.gguf")
            self.remarks.append(f"the result goes to {self.out} (--out changes it)")
        # whether the result is, or may be, a .gguf file
        self.one_file = goal is None or (self.out is not None and is_one_file(Export, self.out))
        for option, fault in self._faults():
            if fault:
                raise InputError(str(fault), option)
        self.headers = Headers(self.settings)  # this and the next ones raise errors for files that are unfit
        if self.one_file:
            architecture_of(model, self.asked.base)
        if goal and goal.name == "recipe":
            TensorTypes(Path(goal.text))
        if self.asked.imatrix:
            read_importance(Path(self.asked.imatrix))
        self._of_memory: list[str] = []
        self.export: dict[str, Any] = {"base": self.asked.base} if self.asked.base else {}
        if goal and goal.name == "fits":
            kv = self.asked.kv or GgufOptions().kv
            self.goal, context, remark = goal.within_memory(self.asked.base or model, self.asked.context, kv)
            self.export |= {"context": context, "kv": kv, "fits": int(goal.value)}
            self._of_memory = ["--context", str(context), "--kv", kv]
            self.remarks.append(remark)
        self.refuse(self.headers)

    def refuse(self, headers: Headers) -> None:
        """Raise InputError if a model with ``headers`` is as small as asked for already, or cannot be."""
        if self.goal and self.goal.name in SIZES and not self.asked.vocabulary:
            headers.refuse(self.goal, self.one_file, *self._of_memory, *self.asked.files)

    def _faults(self) -> Iterator[tuple[str, object]]:
        """Yield options, and the faults of some, as far as faults depend on several options."""
        asked, goal = self.asked, self.goal
        rules, option = (goal.rules, goal.option) if goal else ({}, "")
        for_file = {"--base": asked.base, "--imatrix": asked.imatrix, option: rules.get("one_file")}
        for each, given in for_file.items():
            yield each, given and not self.one_file and "is for --out FILE.gguf"
        for each, given in {"--context": asked.context, "--kv": asked.kv}.items():
            yield each, given and option != "--fits" and "is for --fits MEMORY"
        yield option, asked.vocabulary and rules.get("keeps_tokens") and "keeps all tokens: leave out --vocabulary"
        missing = asked.vocabulary and "vocabulary" not in plugin_names(TRANSFORMS)
        yield "--vocabulary", missing and f"needs the wing {WINGS['vocabulary']}"
        yield "MODEL", model_fault(self.settings.model)
        yield str(self.out or self.settings.model), self.one_file and ggml.missing()
        of_text, text = asked.main_text
        yield of_text, text and short_fault(text)

    @property
    def left(self) -> float:
        """Seconds to the deadline; below 0 after it."""
        return self.asked.seconds - (time.monotonic() - self._begun)

    @property
    def problem(self) -> type[LanguageModel]:
        from evoprune.problems.language_model.problem import LanguageModel

        return LanguageModel

    def plan(self) -> Plan | None:
        from evoprune.problems.language_model.prune.planning import Planning

        planning = Planning(self)
        if self.goal:
            return planning.plan(self.goal)
        print(*planning.overview(), sep="\n")
        return None


def _one_of(goals: Mapping[str, str], asked: PruneOptions) -> Goal | None:
    """Return the goal; None for an overview. Raises InputError for several."""
    if len(goals) > 1:
        raise InputError(f"expected one goal, got {' and '.join(f'--{name}' for name in goals)}", "prune")
    for name, text in goals.items():
        return Goal.read(name, text)
    return Goal("vocabulary") if asked.vocabulary else None
