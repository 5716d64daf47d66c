"""Commands of plugins. Planners plan an experiment, which is run, reported and exported here."""

import argparse
import shlex
import sys
import time
from collections.abc import Collection
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

from evoprune.backends.evaluation import limit_threads
from evoprune.backends.execution import Execution
from evoprune.cli.options import add_command, add_execution, read_execution
from evoprune.cli.run import add_place, alone, complete, keep_promise, run_and_print
from evoprune.console.errors import InputError
from evoprune.console.progress import Progress, note
from evoprune.experiment import registry
from evoprune.experiment.config import dumped
from evoprune.experiment.resolve import resolve
from evoprune.exports.exporting import is_one_file, refuse_unless_free, refuse_without_room
from evoprune.interfaces.export import Exporting
from evoprune.interfaces.parts import needed
from evoprune.interfaces.planning import Command, Planner
from evoprune.records import run_folder
from evoprune.records.run_folder import Promise
from evoprune.search.run import run

COMMANDS = "evoprune.commands"  # the group of entry points


def plugin_commands() -> list[str]:
    return sorted(registry.names(COMMANDS))


def find_command(name: str) -> type[Command | Planner]:
    command = registry.find_plugin(COMMANDS, name)
    if not (isinstance(command, type) and issubclass(command, (Command, Planner))):
        raise InputError(f"'{name}' is no subclass of evoprune.Planner or evoprune.plugins.Command", COMMANDS)
    return command


def add_plugins(commands: Any, names: Collection[str], planning: bool) -> None:
    """Add the plugins called ``names`` to ``commands``: planners (``planning``), or all others."""
    for name in sorted({*plugin_commands()}.intersection(names)):
        try:
            command = find_command(name)
        except InputError:  # which is reported when it is called
            continue
        if issubclass(command, Planner) != planning:
            continue
        call = partial(_call, command) if issubclass(command, Planner) else command.call
        parser = add_command(commands, call, command.help, command.example, name, command.__doc__)
        command.add_arguments(parser)
        if planning:
            parser.add_argument("--out", type=Path, help="where the result is exported, as by the command export")
            add_execution(parser)
            add_place(parser, "that of the plan")
            parser.add_argument("--print-config", action="store_true", help="print the experiment as YAML and stop")


def _call(planner_class: type[Planner], options: argparse.Namespace) -> None:
    execution = read_execution(options, scoop_for="'run': give it what --print-config prints")
    limit_threads(execution.with_threads().threads)  # so that the plan measures with the threads of evaluations
    with Progress("planning"):
        planner = planner_class(options)
    with nullcontext() if options.print_config else alone(options, planner.out):
        _run_plan(planner, options, execution)


def _run_plan(planner: Planner, options: argparse.Namespace, execution: Execution) -> None:
    out = str(planner.out.absolute()) if planner.out else None
    if out and not options.print_config and (there := _begun(options, out)):
        note(f"{there}: continued, as this command began it")
        complete(there, execution)
        return
    folder, begun = None, time.monotonic()
    if planner.name is not None and not options.print_config:
        if planner.out:
            exporting = needed(planner.problem, Exporting, "export", "--out")
            refuse_unless_free(planner.out, is_one_file(exporting, planner.out))
        folder = run_folder.choose(options.runs_dir, options.name, planner.name)
    try:
        with Progress("planning"):
            execution = execution.decided(planner.problem)
            plan = planner.plan()
    except KeyboardInterrupt:
        again = shlex.join(["python", "-m", "evoprune", *options.arguments])
        print(f"caches are kept, and nothing else is written yet; to continue: {again}", file=sys.stderr)
        raise
    if plan is None:
        return
    for remark in plan.remarks:
        note(remark)
    resolved = resolve(dict(plan.experiment), options.command)
    if folder is None:
        print(dumped(plan.experiment), end="")
        return
    if planner.out:
        refuse_without_room(planner.out, plan.room)
    promise = Promise(
        out=out,
        options=dict(plan.export),
        seconds=plan.seconds,
        searching=plan.searching,
        planning=time.monotonic() - begun,
        command=options.arguments,
    )
    run_and_print(lambda: run(resolved, folder, execution, promise=promise), folder)
    keep_promise(folder)


def _begun(options: argparse.Namespace, out: str) -> Path | None:
    """The folder of a run that the same command began, and that is not exported yet."""
    for path in sorted(options.runs_dir.glob(f"[!.]*/{run_folder.PROMISED}")):
        folder: Path = path.parent
        with nullcontext() if folder.name == options.name else suppress(InputError):  # another run's may be damaged
            promise = Promise.read(folder)
            if promise and promise.command == options.arguments and promise.out == out:
                return folder
    return None
