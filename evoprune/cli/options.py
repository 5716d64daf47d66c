"""Options that several commands share: of the experiment, the execution and problems."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic.fields import FieldInfo

from evoprune.backends import launch
from evoprune.backends.execution import MAPS, Execution
from evoprune.console.errors import InputError
from evoprune.experiment import registry
from evoprune.experiment.options import add_options, add_set
from evoprune.experiment.resolve import Resolved, resolve_file
from evoprune.interfaces.export import Exporting, Measuring
from evoprune.interfaces.parts import Part, part_class

Declared = Literal["EvalOptions", "ExportOptions"]
_PARTS: Mapping[Declared, type] = {"EvalOptions": Measuring, "ExportOptions": Exporting}


def add_command(
    commands: Any, call: Callable[[argparse.Namespace], int | None], help: str, example: str, name: str = "",
    about: str | None = None,
) -> argparse.ArgumentParser:  # fmt: skip
    """Add the command that ``call`` carries out, with its name and docstring; return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name or call.__name__, help=help, description=about or call.__doc__, epilog=f"example: {example}"
    )
    parser.set_defaults(call=call)
    return parser


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """Add the experiment's file, ``--set`` and ``--seed``."""
    parser.add_argument("file", metavar="PROBLEM.yaml", help="the experiment; see the folder problems/")
    add_set(parser, "override a key, as in operators.mutate.sigma=0.1; ~KEY deletes it; repeatable, the last wins")
    parser.add_argument("--seed", help="the same as --set seed=N")


def read_experiment(options: argparse.Namespace) -> Resolved:
    return resolve_file(options.file, options.set + ([f"seed={options.seed}"] if options.seed is not None else []))


def add_execution(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "execution", "where candidates are evaluated; with the same --threads, the history does not depend on it"
    )
    about = f"{', '.join(MAPS)}, or module:factory of an executor (default: processes for several workers, else serial)"
    group.add_argument("--map", metavar="MAP", help=about)
    about = "parallel evaluations (default: one for each device)"
    group.add_argument("-n", "--workers", type=int, metavar="N", help=about)
    group.add_argument("--devices", default="auto", metavar="LIST", help="auto, cpu, or a list such as cuda:0,cuda:1")
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads of an evaluation (default: cores/workers)")
    group.add_argument("--scheduler", metavar="ADDRESS", help="Dask's scheduler, such as tcp://host:8786")
    group.add_argument("--hostfile", metavar="FILE", help="SCOOP's hosts: lines 'host n', this host first")
    about = "stop when no result comes for so long (default: 10 times the slowest, at least 60; first: 3600)"
    group.add_argument("--stall-after", type=float, metavar="SECONDS", help=about)


def read_execution(options: argparse.Namespace, scoop_for: str = "") -> Execution:
    """Return the execution that ``options`` name. ``scoop_for``: the command that alone runs under SCOOP, if any."""
    if scoop_for and options.map == "scoop":
        raise InputError(f"is for {scoop_for}", "--map scoop")
    devices = () if options.devices == "auto" else tuple(options.devices.split(","))
    chosen, workers = options.map or ("scoop" if launch.running() else None), launch.size() or options.workers
    more = options.threads, options.scheduler, options.hostfile, options.stall_after
    return Execution(chosen, workers, devices, *more)


def under_scoop(execution: Execution, options: argparse.Namespace) -> int | None:
    """Start this command again under SCOOP if it must run there; return its exit code, or None if it need not."""
    if execution.map != "scoop" or launch.running():
        return None
    return launch.launch(options.arguments, execution.workers, execution.hostfile)


def add_declared(parser: argparse.ArgumentParser, declared: Declared) -> None:
    """Add ``--name`` for each field of the ``declared`` model of each problem. To be called after the parser's own."""
    by_problem = {problem: _fields(problem, declared) for problem in sorted(registry.names(registry.PROBLEMS))}
    for fields in by_problem.values():
        alike = [name for name, others in by_problem.items() if others.keys() == fields.keys()]
        add_options(parser, fields, f"options of {', '.join(alike)}" if fields else "")


def measuring(source: str) -> type[Measuring]:
    """Return the first class that can measure ``source``, no run."""
    for name in sorted(registry.names(registry.PROBLEMS)):
        if (part := _part_of(name, Measuring)) and part.measures(source):
            return part
    raise InputError("is no run's folder, and no installed problem can measure it", source)


def _part_of(problem: str, wanted: type[Part]) -> type[Part] | None:
    try:
        return part_class(registry.problem(problem), wanted)
    except InputError:  # it cannot be imported, which is reported when it is used
        return None


def _fields(problem: str, declared: Declared) -> Mapping[str, FieldInfo]:
    part: Any = _part_of(problem, _PARTS[declared])
    fields: Mapping[str, FieldInfo] = getattr(part, declared).model_fields if part else {}
    return fields
