"""Checks a whole experiment before anything large is loaded or written."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from evoprune.console.errors import InputError
from evoprune.experiment import parameters, registry
from evoprune.experiment.config import Config, find, override, read
from evoprune.experiment.explain import explain
from evoprune.experiment.spec import Choice, Experiment, Operators
from evoprune.interfaces.problem import Problem, Settings, answer
from evoprune.interfaces.space import Space

FROM_EXPERIMENT = frozenset({"population", "mate_probability", "mutate_probability"})
"""Keys of the experiment that an operator may ask for."""

ALWAYS_SUPPLIED = FROM_EXPERIMENT | {
    "space",
    "genes",
    "low",
    "up",
    "pset",
    "expr",
    "budget",
    "noisy",
    "initial_genomes",
}
"""Parameters of operators that the engine supplies, by name. A user may override numbers and lists."""


@dataclass(frozen=True)
class Operator:
    """An operator with its checked parameters."""

    use: str
    function: Callable[..., Any]
    parameters: BaseModel


@dataclass(frozen=True)
class Resolved:
    """An experiment with all plugins imported and all parameters checked."""

    experiment: Experiment
    problem: type[Problem]
    settings: Settings
    operators: dict[str, Operator]
    plugin_folders: tuple[str, ...] = ()  # where modules in plugins are looked for before Python's own path

    def config(self) -> Config:
        """Return the experiment that repeats the run: with all defaults, or with ``auto``, the keys that were set."""
        config = self.experiment.model_dump(mode="json", exclude_unset=self.experiment.automatic)
        config["problem"] = {"use": self.experiment.problem.use, **self.settings.model_dump(mode="json")}
        for slot, operator in self.operators.items():
            not_given = ALWAYS_SUPPLIED - operator.parameters.model_fields_set
            chosen = operator.parameters.model_dump(mode="json", exclude=set(not_given))
            config["operators"][slot] = {"use": operator.use, **chosen}
        return config


def resolve_file(file: str, overrides: Sequence[str]) -> Resolved:
    """The checked experiment in ``file`` after ``overrides``; modules in its ``plugins`` may be in its folder."""
    path = find(file)
    return resolve(override(read(path), overrides), str(path), [path.parent])


def resolve_at(path: Path, overrides: Sequence[str]) -> Resolved:
    """As :func:`resolve_file`, for a run's folder: it may be of another user, so its modules are not imported."""
    return resolve(override(read(path), overrides), str(path))


def resolve(config: Config, source: str, folders: Sequence[Path] = ()) -> Resolved:
    """Check ``config``, which came from ``source``. Raises one :class:`InputError` with all faults.

    Modules in ``plugins`` are looked for in the working directory, in ``folders``, then on Python's path.
    """
    faults: list[str] = []
    experiment = _experiment(config, faults)
    if experiment is None:
        raise InputError(faults, source)
    plugin_folders = tuple(dict.fromkeys(str(folder.resolve()) for folder in [Path(), *folders]))
    for name in experiment.plugins:
        try:
            registry.plugin(name, plugin_folders)
        except InputError as error:
            raise InputError(f"plugins: {error}", source) from None
    problem, settings = _problem(experiment, faults)
    filled = dict(experiment.operators.items())
    if experiment.automatic:
        if filled.pop("algorithm").parameters:
            faults.append("operators.algorithm: auto has no parameters")
        filled = {slot: filled[slot] for slot in filled if slot in experiment.operators.model_fields_set}
    every = {
        slot: checked_operator(slot, choice, f"operators.{slot}", experiment.plugins, faults)
        for slot, choice in filled.items()
    }
    operators = {slot: operator for slot, operator in every.items() if operator}
    if problem and settings and not experiment.automatic:  # the algorithm may bring them
        needed = answer(problem, "needs", Mapping, settings)
        faults += [f"operators.{slot}: missing; {why}" for slot, why in needed.items() if slot not in filled]
    if faults or problem is None or settings is None:
        raise InputError(faults, source)
    return Resolved(experiment, problem, settings, operators, plugin_folders if experiment.plugins else ())


def refuse_missing(resolved: Resolved, source: str | None = None) -> None:
    """Raise :class:`InputError` for files that the problem's settings name and this machine lacks."""
    if faults := list(answer(resolved.problem, "missing", Iterable, resolved.settings)):
        raise InputError(faults, source)


def _experiment(config: Config, faults: list[str]) -> Experiment | None:
    """Return the typed experiment without its faulty keys, so that faults of the others are found, too."""
    try:
        return Experiment.model_validate(config)
    except ValidationError as error:
        faults.extend(explain(error, Experiment, elsewhere=_elsewhere(config)))
        places = [fault["loc"] for fault in error.errors()]
    faulty = {place[:2] if place[0] == "operators" else place[:1] for place in places}
    sound = {key: value for key, value in config.items() if (key,) not in faulty}
    if isinstance(sound.get("operators"), dict):
        sound["operators"] = {k: v for k, v in sound["operators"].items() if ("operators", k) not in faulty}
    try:
        return Experiment.model_validate(sound) if ("plugins",) not in faulty else None
    except ValidationError:
        return None


def _elsewhere(config: Config) -> dict[str, str]:
    """Return the paths of the problem's keys and of the operators' slots, for users who forget the section."""
    slots = {slot: f"operators.{slot}" for slot in Operators.model_fields}
    chosen = config.get("problem")
    use = chosen.get("use") if isinstance(chosen, dict) else chosen
    try:
        keys = registry.problem(str(use), ()).Settings.model_fields
    except InputError:  # which is reported in its place
        keys = {}
    return slots | {key: f"problem.{key}" for key in keys}


def _problem(experiment: Experiment, faults: list[str]) -> tuple[type[Problem] | None, Settings | None]:
    choice = experiment.problem
    try:
        problem = registry.problem(choice.use, experiment.plugins)
    except InputError as error:
        faults.append(f"problem.use: {error}")
        return None, None
    try:
        return problem, problem.Settings.model_validate(choice.parameters)
    except ValidationError as error:
        faults.extend(explain(error, problem.Settings, "problem"))
        return problem, None


def operator_schema(slot: str, function: Callable[..., Any]) -> type[BaseModel]:
    """Return the model of the parameters of ``function``, an operator of ``slot``."""
    return parameters.schema(function, parameters.DATA_ARGUMENTS[slot], ALWAYS_SUPPLIED)


def refuse_other_space(slot: str, name: str, space: Space, path: str) -> None:
    """Raise :class:`InputError` for an operator that is registered for other spaces; ``path``: of its choice."""
    spaces = registry.breeds(slot, name)
    if spaces and space.name not in spaces:
        every = {other: registry.breeds(slot, other) for other in sorted(registry.operators(slot))}
        others = (other for other, bred in every.items() if space.name in bred or not bred)
        bred = f"'{name}' breeds {' and '.join(spaces)}, and the problem has {space.describe()}"
        raise InputError(f"{path}: {bred}: expected {', '.join(others) or 'none'}")


def checked_operator(
    slot: str, choice: Choice, path: str, plugins: Sequence[str], faults: list[str]
) -> Operator | None:  # fmt: skip
    """Return the operator ``choice``, which has the key ``path``; None after adding to ``faults``."""
    try:
        function = registry.operator(slot, choice.use, plugins)
        model = operator_schema(slot, function)
    except InputError as error:
        faults.append(f"{path}.use: {error}")
        return None
    except Exception as error:  # none at all, or annotations that cannot be evaluated
        faults.append(f"{path}.use: '{choice.use}' has no signature to check parameters by ({error})")
        return None
    try:
        return Operator(choice.use, function, model.model_validate(choice.parameters))
    except ValidationError as error:
        faults.extend(explain(error, model, path))
        return None
