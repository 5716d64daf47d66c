from pathlib import Path

import pytest
import torch

from problems.export.runtime import runtimes
from problems.models.throughput import peak_bytes


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_processes")
def test_speed_and_memory_are_those_of_processes_of_their_own(session, small):
    held = torch.ones(2**27)  # 512 MiB, which a new process has nothing of
    found = runtimes(session, "float32", Path(small["model"]))
    assert min(found[phase][name] for phase in ("prefill", "decode") for name in ("dense", "evolved")) > 0
    assert 0 < max(found["peak_bytes"].values()) < peak_bytes(held.device) - held.nbytes / 2
