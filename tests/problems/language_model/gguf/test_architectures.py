"""Each architecture through types to a file that llama.cpp runs as PyTorch runs the model."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evoprune import InputError
from evoprune.problems.language_model.gguf.base import find_base
from evoprune.problems.language_model.gguf.types.settings import TypesSettings
from evoprune.problems.language_model.gguf.types.transform import Types
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.transforms.sublayers import Sublayers
from evoprune.problems.language_model.transforms.widths.cuts import Channels, Heads
from tests.problems.language_model.gguf import models
from tests.problems.language_model.gguf.architectures import ALL, ARCHITECTURES, Architecture
from tests.problems.language_model.gguf.models import byte_tokenizer

TOKENS = torch.arange(48)[None] * 7 % 250


def logits_of(model):
    with torch.inference_mode():
        return model(TOKENS, use_cache=False).logits[0].numpy()


def llama_logits(path):
    return models.llama_logits(path, TOKENS)[0].numpy()


def distance(one, other):
    return np.linalg.norm(one - other) / np.linalg.norm(other - other.mean(1, keepdims=True))


@dataclass(frozen=True)
class Case:
    """``model``: as transformers has it; ``loaded``: as it is read from ``source``, if it is."""

    architecture: Architecture
    model: Any
    source: Path
    loaded: Resident

    def resident(self):
        return replace(self.loaded, model=copy.deepcopy(self.loaded.model))


@pytest.fixture(scope="module", params=ARCHITECTURES)
def case(request, tmp_path_factory):
    home, architecture = tmp_path_factory.mktemp("case"), ARCHITECTURES[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVOPRUNE_CACHE", str(home / "cache"))
        model = architecture.model()
        source, loaded = (
            architecture.write(model, home / "source.gguf"),
            Resident(model, byte_tokenizer(), "owner/name"),
        )
        if architecture.loads:
            loaded = Resident.load(ModelSettings(model=str(source), dtype="float32", device="cpu"))
        yield Case(architecture, model, source, loaded)


def test_a_file_of_the_converter_is_read_as_llama_cpp_reads_it(case):
    assert distance(llama_logits(case.source), logits_of(case.model)) < 0.01  # so the converter here is llama.cpp's
    assert distance(logits_of(case.loaded.model), logits_of(case.model)) < 1e-3


def test_types_and_trained_vectors_reach_llama_cpp(case, tmp_path):
    resident = case.resident()
    base = find_base(resident, str(case.source))
    settings = TypesSettings(types=("Q8_0", "Q4_0"), importance=False, base=str(case.source))
    types = Types(resident, settings, None)
    types.apply([float(place % len(gene.levels)) for place, gene in enumerate(types.genes)])
    torch.manual_seed(1)
    for parameter in resident.model.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    made = contents(resident.model, base, types.encoded())
    made.write(tmp_path / "made.gguf")
    assert made.bytes == (tmp_path / "made.gguf").stat().st_size < case.source.stat().st_size
    assert distance(llama_logits(tmp_path / "made.gguf"), logits_of(resident.model)) < 0.02
    assert distance(logits_of(resident.model), logits_of(case.model)) > 0.05  # the test can tell


CUTS = {
    "blocks": lambda resident: Sublayers(resident, Sublayers.Settings(genes="block"), None),
    "channels": lambda resident: Channels(resident, Channels.Settings(genes="model"), None),
    "heads": lambda resident: Heads(resident, Heads.Settings(genes="model"), None),
}


@pytest.mark.parametrize("cut", CUTS)
def test_smaller_models_reach_llama_cpp_or_are_refused(case, cut, tmp_path):
    resident = case.resident()
    base = find_base(resident, str(case.source))
    written = tmp_path / "made.gguf"

    def write():
        transform = CUTS[cut](resident)
        transform.apply([1.0, *transform.dense[1:]])
        contents(resident.model, base, {}).write(written)

    if cut not in case.architecture.loses:
        with pytest.raises(InputError):
            write()
        return
    write()
    assert written.stat().st_size < case.source.stat().st_size
    assert distance(llama_logits(written), logits_of(resident.model)) < 0.01


def test_a_folder_is_enough_where_its_metadata_can_be_made(case, tmp_path):
    resident = Resident(case.model, byte_tokenizer(), "owner/name")
    if not case.architecture.own:
        with pytest.raises(InputError, match=r"owner/name: .*--base"):
            find_base(resident)
        return
    contents(case.model, find_base(resident), {}).write(tmp_path / "made.gguf")
    assert distance(llama_logits(tmp_path / "made.gguf"), logits_of(case.model)) < 0.01


def test_the_table_of_the_page_is_the_one_that_is_tested():
    """Llama files alone may have blocks of different widths: another test."""
    section = Path("docs/gguf.md").read_text(encoding="utf-8").partition("## Models that can be written")[2]
    rows = [line.strip("|").split("|") for line in section.partition("\n\n")[2].partition("\n\n")[0].splitlines()[2:]]
    told, removed = set(), ""
    for names, from_file, from_folder, cell in rows:
        removed = removed if "the same" in cell else cell
        for name in re.sub(r"\(.*?\)|[ -]", "", names).lower().split(","):
            known = ARCHITECTURES[name]
            assert (from_file.strip() == "yes", from_folder.strip() == "yes") == (known.loads, known.own), name
            assert set(known.loses) == {each for each in ALL if each in removed}, name
            told.add(known.name)
    assert told == {known.name for known in ARCHITECTURES.values()}
