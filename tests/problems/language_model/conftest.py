"""Random models of each architecture, and problems and runs on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.problem import LanguageModel, LanguageModelSettings, Pruning
from evoprune.problems.language_model.settings import PruningSettings
from tests.exports import _short_checks, fresh_processes  # noqa: F401 - fixtures
from tests.problems.language_model.small import (
    ARCHITECTURES,
    CHOICES,
    VOCABULARY,
    problem_in,
    random_model,
    run_in,
    settings_in,
)


@pytest.fixture(scope="session", autouse=True)
def _no_bfloat16_units() -> Iterator[None]:
    """Compute on every processor as on one without bfloat16 units: in float32 unless a test asks for another dtype."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
        yield


@pytest.fixture
def threads() -> Iterator[int]:
    """The threads that PyTorch may use: three."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


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
    weights = {"transforms": {"use": "weights", "curve": []}}
    return lambda **settings: LanguageModel(LanguageModelSettings(**small | weights | settings))


@pytest.fixture
def session(pruning: Callable[..., Pruning]) -> Session:
    """The session of the pruning problem: its model is dense, and a gene is a block's sparsity."""
    return pruning().session


@pytest.fixture(scope="session")
def bundled() -> Callable[..., Pruning]:
    """Makes the pruning problem on the bundled model, where a test needs one that was trained, and little text."""
    text = {"source": "bundled:python-docs", "window": 64}
    parts = {"search": ("validation", 4), "report": ("test", 4), "calibration": ("validation", 16)}
    given = {f"{role}_text": text | {"split": split, "windows": count} for role, (split, count) in parts.items()}
    given |= {"dtype": "float32", "device": "cpu", "curve": ()}
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
        if key not in done:
            home = tmp_path_factory.mktemp(architecture)
            told = {"use": "pruning", "dtype": dtype, "curve": [], "reconstruct": reconstruct}
            problem = problem_in(home, architecture, begin) | told | {"reconstruct_stages": stages}
            done[key] = run_in(home, problem)
        return done[key]

    return run


@pytest.fixture(scope="session")
def smaller_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that leaves parts of the blocks of a random GPT-2, so that transformers alone cannot load the result."""
    home = tmp_path_factory.mktemp("sublayers")
    problem = {"use": "language_model", "transforms": "sublayers", "budget": {"use": "parameters", "removed": 0.3}}
    return run_in(home, problem_in(home) | problem)


@pytest.fixture(scope="session")
def byte_models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What a problem on a random model of a kind is told; ``base`` is the model's own .gguf file."""
    pytest.importorskip("gguf")
    pytest.importorskip("llama_cpp_py_sync")
    from tests.problems.language_model.gguf import models

    made: dict[str, dict[str, Any]] = {}

    def of(kind: str) -> dict[str, Any]:
        if kind not in made:
            home = tmp_path_factory.mktemp(kind)
            model = getattr(models, f"random_{kind}")(blocks=4)
            model.save_pretrained(home / "model")
            models.byte_tokenizer().save_pretrained(home / "model")
            models.write_model(model, home / "base.gguf")
            for seed, name in enumerate(("search.txt", "report.txt"), 1):
                (home / name).write_text(_text(model, seed))
            made[kind] = settings_in(home, str(home / "model"))
            made[kind]["report_text"]["windows"] = 3
        return made[kind]

    return of


def _text(model: Any, seed: int) -> str:
    """Letters that ``model`` says."""
    torch.manual_seed(seed)
    letters = torch.arange(66, 92)  # signs that are one byte
    tokens = model.generate(letters[:24, None], min_new_tokens=31, max_new_tokens=31, do_sample=True)
    return "".join(chr(97 + token % 26) for token in tokens.flatten().tolist())


@pytest.fixture
def problem_on(byte_models: Callable[[str], dict[str, Any]]) -> Callable[..., LanguageModel]:
    """Makes the problem of any transforms on the model of a kind."""
    return lambda kind, transforms: LanguageModel(LanguageModelSettings(**byte_models(kind), transforms=transforms))


@pytest.fixture
def result() -> dict[str, Any]:
    """A run's ``result.json``, whose uniform pruning is infinitely bad."""
    text = {"source": "/home/me/texts/valid.txt", "window": 32, "windows": 4, "predictions": 124, "sha256": "abc"}
    protocol = {"model": "owner/name", "weights_sha256": "123", "dtype": "bfloat16", "device": "cpu"}
    amounts = {"parameters": 150, "bytes": 300, "bits_per_weight": 16}
    return {
        "cost": {unit: dict.fromkeys(("dense", "evolved"), amount) for unit, amount in amounts.items()},
        "sparsity": {"prunable": 0.45, "model": 0.4},
        "perplexity": {role: {"dense": 20.5, "uniform": None, "evolved": 30.25} for role in ("search", "report")},
        "gap_closed": None, "genes": {"block 0": "40.0%", "block 1": "50.0%"}, "seed": 7,
        "protocol": protocol | {"search_text": dict(text), "report_text": dict(text)},
        "best": {"genome": [0.4, 0.5], "fitness": [30.25]},
    }  # fmt: skip


@pytest.fixture
def facts(result: dict[str, Any]) -> dict[str, Any]:
    """The ``evoprune.json`` of an export of that run to a folder."""
    zeros = {"a": (0, 10), "b": (1, 10), "c": (1, 20)}
    matrices = {name: {"block": block, "zeros": count, "weights": 40} for name, (block, count) in zeros.items()}
    denominators = {"prunable": 120, "model": 150}
    return result | {
        "base_model": "owner/name", "dtype": "float16", "transform": {"reconstruct": "none"}, "ragged": False,
        "sparsity": {"prunable": 0.25, "model": 0.2, "denominators": denominators, "matrices": matrices},
        "check": {"perplexity": 30.5, "tolerance": 0.02}, "bytes": 1200,
    }  # fmt: skip


@pytest.fixture
def harness_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the task ``of_my_own`` of lm-evaluation-harness, in the words of small models."""
    pytest.importorskip("lm_eval")
    rows = [{"q": context, "choices": choices, "answer": right} for context, choices, right in CHOICES]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = {
        "task": "of_my_own", "dataset_path": "json", "test_split": "test", "output_type": "multiple_choice",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}}, "doc_to_text": "{{q}}",
        "doc_to_choice": "{{choices}}", "doc_to_target": "answer", "metric_list": [{"metric": "acc"}],
    }  # fmt: skip
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "of_my_own.yaml").write_text(json.dumps(task))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return folder
