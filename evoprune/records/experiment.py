"""The experiment of a run, which must be the one that its scores are of."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evoprune.errors import InputError
from evoprune.experiment.explain import cut_repr
from evoprune.experiment.resolve import Resolved, resolve_at
from evoprune.files.json_files import read_json
from evoprune.records.run_folder import CONFIG, ENVIRONMENT, has_experiment

FREE_KEYS = frozenset({"generations", "budget", "max_failures"})
"""Keys of an experiment that decide no line of its history, only how many there will be."""


def deciding(resolved: Resolved) -> dict[str, Any]:
    """The part of the experiment that decides every line of the history."""
    config = {key: value for key, value in resolved.config().items() if key not in FREE_KEYS}
    free = resolved.problem.unscored(resolved.settings)
    return config | {"problem": {key: value for key, value in config["problem"].items() if key not in free}}


def version_of(environment: Mapping[str, Any]) -> Any:
    """The version of evoprune that an ``environment`` names."""
    packages = environment.get("packages")
    return packages.get("evoprune") if isinstance(packages, dict) else None


def read_experiment(folder: Path, overrides: Sequence[str] = ()) -> Resolved:
    """Return the checked experiment in the ``folder`` of a run, as it was when the run began, with ``overrides``.

    Raises :class:`InputError` if the file was changed. Of a run of another version, new settings are no change.
    """
    if not has_experiment(folder):
        raise InputError(f"is not the folder of a run: it holds no {CONFIG}", str(folder))
    resolved = resolve_at(folder / CONFIG, ())
    environment = read_json(folder / ENVIRONMENT) if (folder / ENVIRONMENT).exists() else {}
    if version_of(environment) == version("evoprune"):
        refuse_another(resolved, environment, folder)
    return resolve_at(folder / CONFIG, overrides) if overrides else resolved


def refuse_another(resolved: Resolved, environment: Mapping[str, Any], folder: Path) -> None:
    """Raise :class:`InputError` if the run in ``folder`` began with another experiment, by its ``environment``."""
    refuse_change(environment.get("experiment"), deciding(resolved), "experiment", folder)


def refuse_change(before: Any, now: Any, key: str, folder: Path) -> None:
    """Raise :class:`InputError` with the first key whose value has changed since the run began."""
    if isinstance(before, dict) and isinstance(now, dict):
        for inner in sorted({*before, *now}):
            refuse_change(before.get(inner), now.get(inner), f"{key}.{inner}", folder)
    elif before != now:
        raise InputError(
            f"{key} was {cut_repr(before)} when the run began and is {cut_repr(now)} now; the scores depend on it: put "
            "it back, or begin another run; nothing was changed",
            str(folder),
        )
