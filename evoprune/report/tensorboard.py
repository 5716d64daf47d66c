"""A run's history as TensorBoard's event files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evoprune.errors import InputError
from evoprune.records import recorded
from evoprune.records.history import HISTORY

FOLDER = "tensorboard"
"""Within the run's."""


def write_events(folder: Path) -> Path:
    """Write the history of the run in ``folder`` as events; return the folder that they are in.

    A step is a generation, its time that of the search. Files of before are replaced. Raises
    :class:`InputError` where the folder holds no history or TensorBoard is not installed.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise InputError("needs TensorBoard: pip install 'evoprune[tensorboard]'", "--tensorboard") from None
    lines = [line for line in recorded.lines(folder / HISTORY) if "median" in line]
    if not lines:
        raise InputError("no generation is complete; there is nothing to write", str(folder))
    out = folder / FOLDER
    for old in out.glob("events.out.tfevents.*"):
        old.unlink()
    began = (folder / HISTORY).stat().st_mtime - lines[-1]["seconds"]
    writer = EventFileWriter(str(out))
    for line in lines:
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(line).items()]
        writer.add_event(
            Event(wall_time=began + line["seconds"], step=line["generation"], summary=Summary(value=values))
        )
    writer.close()
    return out


def scalars(line: dict[str, Any]) -> dict[str, float]:
    """Tag to value of what a generation's ``line`` tells, less what is infinite."""
    low, high = line.get("quartiles") or (None, None)
    found = {f"fitness/{name}": line.get(name) for name in ("best", "median", "worst")}
    found |= {"fitness/lower quartile": low, "fitness/upper quartile": high}
    found |= {f"search/{name}": line.get(name) for name in ("evaluations", "work", "idle")}
    return {tag: float(value) for tag, value in found.items() if isinstance(value, (int, float))}
