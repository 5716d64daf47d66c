"""The command ``prune MODEL``, checked before anything is loaded: one refusal for each mistake. Imports no torch.

The engine checks the places of run and export (:mod:`evoprune.files.paths`) and the devices.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import create_model
from pydantic.fields import FieldInfo

from evoprune import InputError, Plan, Planner
from evoprune.plugins import OPTION, add_options, blamed_on, is_one_file, plugin_names, read_declared, validated
from evoprune.problems.language_model.models.settings import ModelSettings, is_model_file, model_fault, short_name
from evoprune.problems.language_model.models.wings import WINGS, find_in_wings
from evoprune.problems.language_model.parts import Export
from evoprune.problems.language_model.prune.goals import Size
from evoprune.problems.language_model.prune.headers import Headers
from evoprune.problems.language_model.prune.interfaces import GOALS, OUTPUTS, Goal, Output, plugins_of
from evoprune.problems.language_model.prune.options import PruneOptions
from evoprune.problems.language_model.prune.reach import refuse
from evoprune.problems.language_model.prune.siblings import Siblings
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
        about = "a folder, a .gguf file, a hub id, or bundled:gpt2-mini; several .gguf files are compared at one --size"
        parser.add_argument("model", metavar="MODEL", nargs="+", help=about)
        fields = {name: FieldInfo(default=None, description=goal.help) for name, goal in _goals().items()}
        add_options(parser, fields, "goal, one of these")
        add_options(parser, _options().model_fields)

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self._begun = time.monotonic()
        self.siblings = Siblings(options, Sibling) if len(options.model) > 1 else None
        if self.siblings:
            self.name = self.out = None  # each model's own command has them
            return
        (self.model,) = options.model
        given = read_declared(options)
        texts = {name: text for name in _goals() if (text := given.pop(name, None)) is not None}
        self.asked: Any = validated(_options(), given, None, OPTION)
        self.goal = goal = _one_of(texts, self.asked)  # None for an overview
        self.settings = validated(ModelSettings, {"model": self.model}, "MODEL")
        model = self.settings.model
        suffix, stem = Path(model).suffix[1:], short_name(model)
        stem = Path(stem).stem if is_model_file(model) else stem
        self.name = stem if goal else None
        remarks = []
        if self.out is None and goal and suffix in plugin_names(OUTPUTS):
            self.out = Path(f"{stem}-{goal.label}.{suffix}")
            remarks.append(f"the result goes to {self.out} (--out changes it)")
        self.output = self._output()
        self.output.remarks += remarks
        for option, fault in self._faults():
            if fault:
                raise InputError(str(fault), option)
        self.headers = Headers(self.settings)  # this and the next ones raise errors for files that are unfit
        self.output.check()
        self.goal = goal and goal.prepared(self.output)
        self.refuse(self.headers)

    def refuse(self, headers: Headers) -> None:
        """Raise InputError if a model with ``headers`` is as small as asked for already, or cannot be."""
        if isinstance(self.goal, Size) and not self.asked.vocabulary:
            refuse(self.goal, headers, self.output)

    def _output(self) -> Output:
        """Return the output; for an overview, a file whose types it tells of."""
        outputs: dict[str, type[Output]] = plugins_of(OUTPUTS)
        if self.goal is None:
            if not outputs:
                raise InputError(f"expected a goal, one of {', '.join(f'--{name}' for name in _goals())}", "prune")
            suffix = next(iter(outputs))
        else:
            suffix = self.out.suffix[1:] if self.out and is_one_file(Export, self.out) else ""
        return outputs.get(suffix, Output)(self.settings.model, self.asked)

    def _faults(self) -> Iterator[tuple[str, object]]:
        """Yield options, and the faults of some, as far as faults depend on several options."""
        asked, goal, option = self.asked, self.goal, self.goal.option if self.goal else ""
        for suffix, other in plugins_of(OUTPUTS).items():
            if suffix != self.output.suffix:
                for name in other.Options.model_fields.keys() - PruneOptions.model_fields:
                    yield f"--{name}", name in asked.model_fields_set and f"is for --out FILE.{suffix}"
        if goal:
            yield option, goal.output not in (None, self.output.suffix) and f"is for --out FILE.{goal.output}"
            yield option, asked.vocabulary and goal.keeps_tokens and "keeps all tokens: leave out --vocabulary"
        yield from self.output.faults(goal)
        missing = asked.vocabulary and "vocabulary" not in plugin_names(TRANSFORMS)
        yield "--vocabulary", missing and f"needs the wing {WINGS['vocabulary']}"
        yield "MODEL", model_fault(self.settings.model)
        yield str(self.out or self.settings.model), self.output.missing()
        of_text, text = asked.main_text
        yield of_text, text and short_fault(text)

    @property
    def left(self) -> float:
        """Seconds to the deadline; below 0 after it."""
        return float(self.asked.seconds - (time.monotonic() - self._begun))

    @property
    def problem(self) -> type[LanguageModel]:
        from evoprune.problems.language_model.problem import LanguageModel

        return LanguageModel

    def plan(self) -> Plan | None:
        if self.siblings:
            self.siblings.compare()
            return None
        from evoprune.problems.language_model.prune.planning import Planning

        planning = Planning(self)
        if self.goal:
            return planning.plan(self.goal)
        print(*self.output.overview(planning), sep="\n")
        return None


class Sibling(Prune):
    """The command for one of several models; ``as_it_is``: it is small enough already."""

    as_it_is = False

    def refuse(self, headers: Headers) -> None:
        if isinstance(self.goal, Size):
            self.as_it_is = headers.bytes <= self.goal.value
        if not self.as_it_is:
            super().refuse(headers)

    @property
    def source(self) -> Path:
        return Path(self.model)

    @property
    def candidate(self) -> Path:
        """The file that is compared."""
        return self.source if self.as_it_is or not self.out else self.out


def _goals() -> dict[str, type[Goal]]:
    """The goals that have an option."""
    return {name: goal for name, goal in plugins_of(GOALS).items() if goal.help}


def _options() -> type[PruneOptions]:
    """The options that name no goal, of all outputs."""
    found = dict.fromkeys(output.Options for output in plugins_of(OUTPUTS).values())
    return create_model("PruneOptions", __base__=(*found, PruneOptions))


def _one_of(goals: Mapping[str, str], asked: Any) -> Goal | None:
    """Return the goal; None for an overview. Raises InputError for several."""
    if len(goals) > 1:
        raise InputError(f"expected one goal, got {' and '.join(f'--{name}' for name in goals)}", "prune")
    for name, text in goals.items():
        return _goals()[name].read(text)
    with blamed_on("--vocabulary"):
        return find_in_wings(GOALS, "vocabulary")() if asked.vocabulary else None
