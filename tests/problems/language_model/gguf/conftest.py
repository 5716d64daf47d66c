"""Problems on tiny models that llama.cpp can run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from problems.language_model.problem import AnyTransformSettings, LanguageModel


@pytest.fixture(scope="session")
def byte_models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What a problem on a random model of a kind is told; ``base`` is the model's own .gguf file."""
    pytest.importorskip("gguf")
    pytest.importorskip("llama_cpp_py_sync")
    from tests.problems.language_model.gguf.models import (
        byte_tokenizer,
        random_gpt2,
        random_llama,
        random_qwen2,
        write_model,
    )

    makers = {"llama": random_llama, "gpt2": random_gpt2, "qwen2": random_qwen2}
    made: dict[str, dict[str, Any]] = {}

    def of(kind: str) -> dict[str, Any]:
        if kind not in made:
            home = tmp_path_factory.mktemp(kind)
            model = makers[kind](blocks=4)
            model.save_pretrained(home / "model")
            byte_tokenizer().save_pretrained(home / "model")
            write_model(model, home / "base.gguf")
            made[kind] = _told(home, _text(model, 1), _text(model, 2))
        return made[kind]

    return of


def _text(model: Any, seed: int) -> str:
    """Letters that ``model`` says."""
    torch.manual_seed(seed)
    letters = torch.arange(66, 92)  # signs that are one byte
    tokens = model.generate(letters[:24, None], min_new_tokens=31, max_new_tokens=31, do_sample=True)
    return "".join(chr(97 + token % 26) for token in tokens.flatten().tolist())


def _told(home: Path, search: str, report: str) -> dict[str, Any]:
    (home / "search.txt").write_text(search)
    (home / "report.txt").write_text(report)
    text = {"window": 32}
    return {
        "model": str(home / "model"),
        "dtype": "float32",
        "device": "cpu",
        "search_text": text | {"source": str(home / "search.txt"), "windows": 2},
        "held_out_windows": 2,
        "report_text": text | {"source": str(home / "report.txt"), "windows": 3},
        "calibration_text": text | {"source": str(home / "search.txt"), "windows": 8},
    }


@pytest.fixture
def problem_on(byte_models: Callable[[str], dict[str, Any]]) -> Callable[..., LanguageModel]:
    """Makes the problem of any transforms on the model of a kind."""
    return lambda kind, transforms: LanguageModel(AnyTransformSettings(**byte_models(kind), transforms=transforms))
