"""What a model could lose, told without a search."""

import shlex
from itertools import product

import numpy
import pytest
import torch

from evoprune import InputError
from evoprune.cli import main
from evoprune.problems.language_model.evaluation.measure import Divergence, Measure
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.planning.overview import Kind, kinds_of, lost_at
from evoprune.problems.language_model.planning.sizes import Size
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from tests.problems.language_model.gguf.models import random_llama, write_quantised

KINDS = [
    Kind(800, 2.0, {8.0: 0.0, 6.0: 0.01, 4.0: 0.05, 2.0: 0.3}),
    Kind(1600, 0.5, {6.0: 0.0, 5.0: 0.04, 4.0: 0.02, 2.0: 0.2}),  # nobody takes the 5 bits
]


def test_bytes_are_saved_where_they_cost_least():
    """No division among steps of a hundredth of each kind loses less, and one of these loses nearly as little."""

    def ways(kind):
        """Bytes saved and nats lost of all mixtures of two types."""
        whole = kind.weights * max(kind.errors) / 8
        for (one, error), (other, second) in product(kind.errors.items(), repeat=2):
            for share in (place / 100 for place in range(101)):
                bits, lost = (share * a + (1 - share) * b for a, b in ((one, other), (error, second)))
                yield whole - kind.weights * bits / 8, kind.harm * lost

    first, second = (numpy.array([*ways(kind)]).T for kind in KINDS)
    together, lost = (numpy.add.outer(one, other) for one, other in zip(first, second, strict=True))
    for saved in (0, 100, 300, 600, 900, 1200):
        best = lost[together >= saved].min()
        assert lost_at(KINDS, saved) <= best + 1e-12
        assert lost_at(KINDS, saved) == pytest.approx(best, abs=0.005)
    assert lost_at(KINDS, 601 + 801) is None


def test_the_loss_is_that_of_the_type_within_a_factor_of_two():
    resident = Resident.load(ModelSettings(model="bundled:gpt2-mini"))
    text = load_text(TextSettings(source="bundled:python-docs", split="train"), "text")[:4000]
    tokens = torch.tensor(resident.tokenizer(text)["input_ids"][:512]).view(4, 128)
    kinds, loss = kinds_of(resident, {}, tokens)
    measure, dense = Measure(Forward(resident.model), 512), Divergence(508, 64)
    assert loss == pytest.approx(measure.total(tokens, dense.learn) / 508)
    expected = sum(kind.harm * kind.errors[4.5] for kind in kinds[1:])  # without the embedding
    with torch.no_grad():
        for matrix in resident.matrices:
            rows = matrix.rows(matrix.weight)
            again = ggml.dequantize(ggml.quantize(rows.numpy(), "IQ4_NL"), "IQ4_NL", rows.shape[1])
            rows.copy_(torch.from_numpy(again))
    assert expected / 2 < measure.value(tokens, dense) < expected * 2


@pytest.mark.slow
def test_three_sizes_are_told_with_commands_that_ask_for_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = write_quantised(random_llama(blocks=4), tmp_path / "a tiny.gguf", "Q5_1")
    assert main(["prune", str(source)]) == 0
    told = capsys.readouterr().out.splitlines()
    commands = [shlex.split(line) for line in told if "--size" in line and "python" in line]
    sizes = [Size.read(command[command.index("--size") + 1]) for command in commands]
    assert source.stat().st_size > sizes[0] > sizes[1] > sizes[2]
    assert all(command[4] == str(source) for command in commands)
    assert not (tmp_path / "runs").exists()


def test_without_its_packages_it_says_which(monkeypatch, tiny):
    monkeypatch.setattr(ggml, "missing", lambda: "pip install something")
    from evoprune.problems.language_model.planning.overview import overview

    with pytest.raises(InputError, match="pip install something"):
        overview(str(tiny), None, None, None, None, ())
