"""A run's history as TensorBoard's event files."""

from __future__ import annotations

from evoprune.errors import InputError
from evoprune.report.trackers.record import Record, scalars

FOLDER = "tensorboard"
"""Within the run's."""


def write(run: Record) -> str:
    """Write event files into the folder :data:`FOLDER` of ``run``; those of before are replaced."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise InputError("needs TensorBoard: pip install 'evoprune[tensorboard]'", "--tensorboard") from None
    out = run.folder / FOLDER
    for old in out.glob("events.out.tfevents.*"):
        old.unlink()
    writer = EventFileWriter(str(out))
    for line in run.generations:
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(line).items()]
        writer.add_event(
            Event(wall_time=run.began + line["seconds"], step=line["generation"], summary=Summary(value=values))
        )
    writer.close()
    return f"tensorboard --logdir {out}"
