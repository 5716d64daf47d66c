"""Commands that list installed plugins and their keys: ``ls`` for people, ``schema`` for editors."""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from pydantic.fields import FieldInfo

from evoprune.cli.options import add_command
from evoprune.console.errors import InputError, did_you_mean
from evoprune.experiment import catalogue, parameters, registry
from evoprune.experiment.spec import Experiment
from evoprune.interfaces.problem import model_of


def add_ls(commands: Any) -> None:
    example = "python -m evoprune ls blend"
    parser = add_command(commands, ls, "list keys, operators, problems and other plugins", example)
    parser.add_argument(
        "what",
        nargs="?",
        metavar="WHAT",
        help="experiment, operators, problems, spaces, another kind of plugins such as transforms, or the name of a "
        "plugin, for its keys (default: all, but for keys of transforms and budgets)",
    )


def ls(options: argparse.Namespace) -> None:
    """List the keys of an experiment, the installed plugins by kind, or the plugin that is called WHAT."""
    kinds = {"experiment": _experiment, "operators": _operators, "problems": _problems, "spaces": _spaces}
    kinds |= {group.removeprefix("evoprune."): partial(_group, group) for group in registry.other_groups()}
    if options.what is None or options.what in kinds:
        for kind in [options.what] if options.what else kinds:
            print(*kinds[kind](), sep="\n")
    else:
        print(*_called(options.what, kinds), sep="\n")


def _called(name: str, kinds: Iterable[str]) -> Iterator[str]:
    places = {f"operators.{slot}": list(catalogue.operators(slot)) for slot in parameters.DATA_ARGUMENTS}
    places["problem"] = list(catalogue.problems())
    groups = {registry.SPACES, *registry.other_groups()}
    for problem in places["problem"]:
        places |= {f"problem.{key}": plugins for key, plugins in problem.chosen.items()}
        groups -= set(problem.groups.values())
    named = {place: chosen for place, entries in places.items() if (chosen := [e for e in entries if e.name == name])}
    bare = [group for group in sorted(groups) if name in registry.names(group)]
    if not named and not bare:
        names = {entry.name for entries in places.values() for entry in entries}
        names = names.union(kinds, *(registry.names(group) for group in groups))
        raise InputError(f"no plugin is called '{name}'{did_you_mean(name, names)}", "ls")
    for place, entries in named.items():
        yield from (place, *_entries(entries))
    for group in bare:
        yield from (group.removeprefix("evoprune."), *_line(name, catalogue.summaries(group)[name]))


def _experiment() -> Iterator[str]:
    fields = {key: field for key, field in Experiment.model_fields.items() if not model_of(field)}
    yield from ("experiment", *_keys(fields), "")


def _operators() -> Iterator[str]:
    for slot in parameters.DATA_ARGUMENTS:
        yield f"operators.{slot}"
        for entry in catalogue.operators(slot):
            spaces = ", ".join(registry.breeds(slot, entry.name))
            yield from _line(entry.name, f"[{spaces}] {entry.summary}" if spaces else entry.summary)
            yield from _keys(entry.keys)
        yield ""


def _spaces() -> Iterator[str]:
    yield "spaces"
    for name, summary in catalogue.summaries(registry.SPACES).items():
        yield from _line(name, summary)
    yield ""


def _problems() -> Iterator[str]:
    yield "problem"
    for entry in catalogue.problems():
        yield from _entries([entry])
        for model, keys in catalogue.nested(entry.schema).items():
            yield f"    in {', '.join(keys)}:"
            yield from _keys(model.model_fields)
        yield ""
    yield "experiments that come with evoprune"
    for path in sorted((registry.HOME / "problems").glob("*.yaml")):
        comment = path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("#").strip()
        yield from _line(f"problems/{path.name}", comment, 33)
    yield ""


def _group(group: str) -> Iterator[str]:
    """The plugins of ``group``, of any package, with the keys of problems that name them."""
    used = [
        f"{problem.name}: {key}"
        for problem in catalogue.problems()
        for key, name in problem.plugin.plugin_groups.items()  # type: ignore[attr-defined]
        if name == group
    ]
    yield group.removeprefix("evoprune.") + (f" ({'; '.join(used)})" if used else "")
    for name, summary in catalogue.summaries(group).items():
        yield from _line(name, summary)
    yield ""


def _line(name: str, summary: str, width: int = 20) -> Iterator[str]:
    yield f"  {name:{width}} {summary}".rstrip()


def _entries(entries: Iterable[catalogue.Entry]) -> Iterator[str]:
    for entry in entries:
        yield from _line(entry.name, entry.summary)
        yield from _keys(entry.keys)


def _keys(keys: Mapping[str, FieldInfo]) -> Iterator[str]:
    for key, field in keys.items():
        value = catalogue.plain_default(field)
        default = "required" if field.is_required() else f"= {value if isinstance(value, str) else json.dumps(value)}"
        yield f"      {key:20} {default:12} {field.description or ''}".rstrip()


def add_schema(commands: Any) -> None:
    about = "print the JSON Schema of experiments, for editors"
    add_command(commands, schema, about, "evoprune schema > evoprune.schema.json")


def schema(_: argparse.Namespace) -> None:
    """Print the JSON Schema of experiments, by which editors complete and check YAML files."""
    print(json.dumps(catalogue.json_schema(), indent=1))
