"""Models that are refused by the headers of their files."""

import math
from types import SimpleNamespace

import pytest

from evoprune import InputError
from evoprune.problems.language_model.gguf import loading
from evoprune.problems.language_model.models import load
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.prune import looking
from evoprune.problems.language_model.prune.headers import Headers
from evoprune.problems.language_model.prune.looking import model_settings
from tests.problems.language_model.small import random_model, save

pytest.importorskip("gguf")

from tests.problems.language_model.gguf.models import random_gpt2, write_model


def settings_of(model, seconds):
    return model_settings(Headers(ModelSettings(model=str(model))), seconds)


@pytest.fixture(autouse=True)
def _nothing_is_loaded(monkeypatch):
    monkeypatch.setattr(load, "load_model", lambda _: pytest.fail("loaded"))


def test_a_time_far_below_that_of_the_products_is_refused_with_one_that_is_not(tmp_path, monkeypatch):
    model = save(random_model("llama"), tmp_path)
    weights = sum(each.numel() for each in random_model("llama").parameters() if each.dim() == 2)
    monkeypatch.setattr(looking, "_products", lambda *_: 1.0 * weights)  # a token takes a second
    assert settings_of(model, looking._READ).model == model
    assert settings_of(model, math.inf).dtype == "auto"
    with pytest.raises(InputError, match="--time") as refused:
        settings_of(model, 60.0)
    minutes = int(str(refused.value).split()[-1].removesuffix("m"))
    assert settings_of(model, 60.0 * minutes).model == model


def test_a_model_without_room_keeps_the_dtype_in_which_it_is_mapped_or_is_refused(tmp_path, monkeypatch):
    half = save(random_model("gpt2").bfloat16(), tmp_path / "half")
    file = str(write_model(random_gpt2(), tmp_path / "tiny.gguf"))
    assert settings_of(half, math.inf).dtype == "auto"
    monkeypatch.setattr(looking, "free_memory", lambda _: 0.0)
    assert settings_of(half, math.inf).dtype == "bfloat16"
    assert settings_of(file, math.inf).dtype == "auto"  # the disk has room
    monkeypatch.setattr(loading.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(InputError, match=file):
        settings_of(file, math.inf)
