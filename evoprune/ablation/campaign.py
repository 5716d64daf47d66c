"""The folder of an ablation: the options it was started with, and its lock."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from evoprune.ablation.grid import Variant
from evoprune.errors import InputError
from evoprune.experiment.explain import validated
from evoprune.files.json_files import read_json, write_json
from evoprune.files.locks import is_locked
from evoprune.records import run_folder

CAMPAIGN = "campaign.json"
_LOCK = "campaign.lock"  # not ``lock``, which makes a folder a run's


class Campaign(BaseModel, extra="ignore", allow_inf_nan=False):
    """The options of an ablation, as stored in :data:`CAMPAIGN`."""

    file: str
    settings: list[str]  # of all variants, as ``--set`` takes them
    variants: list[Variant] = Field(min_length=1)
    seeds: int = Field(ge=1, le=10_000)  # their number: 0, 1, ...
    budget: float = Field(gt=0)  # work of each run, in ``unit``
    unit: str
    label: str | None = "fitness"  # the first objective; None, and not compared, where variants differ in it
    environment: dict[str, Any] = {}  # the command and the machine that started or last continued it

    @property
    def varied(self) -> dict[str, list[str]]:
        pairs = [setting.partition("=")[::2] for variant in self.variants for setting in variant.settings]
        return {key: list(dict.fromkeys(value for k, value in pairs if k == key)) for key, _ in pairs}

    def places(self) -> Iterator[tuple[Variant, int, Path]]:
        """Variant, seed, and the run's folder within the campaign's; every variant of a seed before the next seed."""
        for seed in range(self.seeds):
            for number, variant in enumerate(self.variants, 1):
                yield variant, seed, Path(f"{number:02d}") / f"seed-{seed}"


def is_campaign(folder: Path) -> bool:
    """Return whether ``folder`` is an ablation's, finished or not."""
    return (folder / CAMPAIGN).is_file()


def read(folder: Path) -> Campaign:
    """Read the options of the ablation in ``folder``."""
    return validated(Campaign, read_json(folder / CAMPAIGN), str(folder / CAMPAIGN))


def is_running(folder: Path) -> bool:
    """Return whether a process is running the ablation in ``folder``."""
    return is_locked(folder / _LOCK)


@contextmanager
def held(folder: Path, campaign: Campaign) -> Iterator[None]:
    """Lock ``folder`` for this process and write the options; it is removed again if no run was started."""
    if not folder.exists():
        run_folder.create(folder)
    elif not is_campaign(folder) and any(path.name != _LOCK for path in folder.iterdir()):
        raise InputError("exists and is no ablation's folder; choose another --name, nothing was changed", str(folder))
    with run_folder.locked(folder, _LOCK):
        write_json(folder / CAMPAIGN, campaign.model_dump(mode="json"))
        try:
            yield
        finally:
            ours = {folder / CAMPAIGN, folder / _LOCK}
            if set(folder.iterdir()) <= ours:
                for path in ours:
                    path.unlink(missing_ok=True)
                folder.rmdir()
