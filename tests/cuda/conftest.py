"""CUDA devices: real ones where PyTorch sees some, else two simulated ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from tests.cuda.simulated import simulated
from tests.exports import _short_checks  # noqa: F401 - a fixture
from tests.problems.language_model.conftest import _no_bfloat16_units, byte_models, small, tokens  # noqa: F401 - fixtures

REAL = torch.cuda.is_available()
"""Kernels of a real device round in ways of their own."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(autouse=True)
def _devices(offline: None) -> Iterator[None]:
    with nullcontext() if REAL else simulated(2):
        yield


@pytest.fixture
def processes() -> dict[str, str]:
    """The environment of processes that see the same devices."""
    here = Path(__file__).parent
    simulation = {"EVOPRUNE_SIMULATED_DEVICES": "2", "PYTHONPATH": f"{here.parents[1]}{os.pathsep}{here / 'hook'}"}
    return os.environ | {"OMP_NUM_THREADS": "1"} | ({} if REAL else simulation)
