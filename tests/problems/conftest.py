"""Random models of each architecture, and problems and runs on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evoprune.cli import main
from problems.language_model.problem import AnyTransformSettings, LanguageModel
from problems.language_model.session import Session
from problems.pruning.problem import Pruning
from problems.pruning.settings import PruningSettings
from tests.problems.small import ARCHITECTURES, VOCABULARY, problem_in, random_model
from tests.timings import short_timings  # noqa: F401 - a fixture


@pytest.fixture(params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> torch.nn.Module:
    """Each architecture in turn."""
    return random_model(request.param)


@pytest.fixture
def tokens() -> torch.Tensor:
    """Five windows of 32 random tokens."""
    return torch.randint(VOCABULARY, (5, 32), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a problem on a language model is told: a random GPT-2 of three blocks, and random texts."""
    return problem_in(tmp_path_factory.mktemp("small"))


@pytest.fixture
def pruning(small: dict[str, Any]) -> Callable[..., Pruning]:
    """Makes the pruning problem on that model, with other settings where they are given."""
    return lambda **settings: Pruning(PruningSettings(**small | {"curve": ()} | settings))


@pytest.fixture
def language_model(small: dict[str, Any]) -> Callable[..., LanguageModel]:
    """Makes the problem of any transform on that model: weights are cut by magnitude, and nothing limits how many."""
    return lambda **settings: LanguageModel(AnyTransformSettings(**small | {"transforms": "weights"} | settings))


@pytest.fixture
def session(pruning: Callable[..., Pruning]) -> Session:
    """The session of the pruning problem: its model is dense, and a gene is a block's sparsity."""
    return pruning().session


@pytest.fixture(scope="session")
def bundled() -> Callable[..., Pruning]:
    """Makes the pruning problem on the bundled model, where a test needs one that was trained, and little text."""
    text = {"source": "bundled:python-docs", "window": 64}
    given = {
        "dtype": "float32",
        "device": "cpu",
        "curve": (),
        "search_text": text | {"split": "validation", "windows": 4},
        "report_text": text | {"split": "test", "windows": 4},
        "calibration_text": text | {"split": "validation", "windows": 16},
    }
    return lambda **settings: Pruning(PruningSettings(**given | settings))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random GPT-2, which reads any text and which llama.cpp can run."""
    pytest.importorskip("gguf")
    from tests.problems.language_model.gguf.models import byte_tokenizer, random_gpt2

    folder = tmp_path_factory.mktemp("tiny")
    random_gpt2().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def run_on(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs a tiny search on a random model of the given architecture; returns the run's folder. Once each.

    ``reconstruct`` and ``stages`` are the problem's ``reconstruct`` and ``reconstruct_stages``. ``begin``: the
    tokenizer puts a token before each text.
    """
    done: dict[tuple[Any, ...], Path] = {}

    def run(
        architecture: str, dtype: str = "float32", reconstruct: str = "none", stages: tuple[float, ...] = (),
        begin: bool = False,
    ) -> Path:  # fmt: skip
        key = (architecture, dtype, reconstruct, stages, begin)
        if key in done:
            return done[key]
        home = tmp_path_factory.mktemp(architecture)
        problem = problem_in(home, architecture, begin) | {
            "use": "pruning", "dtype": dtype, "curve": [], "reconstruct": reconstruct, "reconstruct_stages": stages,
        }  # fmt: skip
        spec = {"problem": problem, "population": 4, "generations": 1, "operators": {"repair": "shift"}}
        (home / "experiment.yaml").write_text(json.dumps(spec))
        assert main(["run", str(home / "experiment.yaml"), "--runs-dir", str(home), "--name", "run"]) == 0
        done[key] = home / "run"
        return home / "run"

    return run
