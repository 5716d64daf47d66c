"""The models that llama.cpp's own quantiser would make, to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from evoprune import InputError, Rival, note
from problems.transforms.gguf_types.levels import DENSE
from problems.transforms.gguf_types.settings import TypesSettings

Alone = Callable[[TypesSettings], Any]


def rivals(settings: TypesSettings, alone: Alone) -> Iterator[Rival]:
    """llama.cpp's presets of the whole model, once where several come to the same types.

    ``alone`` makes the problem that has types alone, by these settings.
    """
    try:
        presets = alone(settings).session.transform.presets()
    except InputError as error:
        note(f"there are no presets to compare with: {error}")
        return
    names = {tuple(kinds): name for name, kinds in reversed(presets.items())}  # of several, the first
    for kinds, name in names.items():
        yield Rival("presets", name, partial(_preset, settings, alone, kinds))


def _preset(
    settings: TypesSettings, alone: Alone, kinds: Sequence[str]
) -> tuple[Any, list[float], dict[str, list[float]]]:
    """A problem that has the types of a preset, the genome with that of ``kinds`` for each matrix, and the dense one.

    Where another one of them has no more bytes and no larger error, that is taken. Raises
    :class:`evoprune.InputError` where a matrix has no such type.
    """
    problem = alone(settings.model_copy(update={"types": tuple(sorted({*kinds} - {DENSE}))}))
    transform = problem.session.transform
    return problem, transform.genome_of(kinds), {"dense": transform.dense}
