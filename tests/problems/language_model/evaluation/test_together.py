import errno
import os
import random

import pytest
import torch

from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.models import memory
from evoprune.problems.language_model.models.cache import cache_folder
from evoprune.problems.language_model.models.lazy_weights import set_execution_device
from tests.problems.language_model.small import problem_in, resume_cut, run_in
from tests.runs import lines

TYPES = {"transforms": {"use": "types", "types": ["Q8_0", "Q5_0", "Q4_0"]}}


@pytest.fixture
def home(tmp_path):
    """Makes the settings of a problem whose search text is three batches, of two windows each but the last."""

    def call(architecture="gpt2", **given):
        of_model = problem_in(tmp_path, architecture) | {"batch_tokens": 64} | TYPES
        return of_model | {"search_text": of_model["search_text"] | {"windows": 5}} | given

    return call


def relatives(problem, pairs):
    """The dense genome, and random ones, each followed by a child that differs in one gene."""
    rng, found, genes = random.Random(0), [problem.session.transform.dense], problem.genes
    for _ in range(pairs):
        parent = [gene.nearest(rng.uniform(gene.low, gene.up)) for gene in genes]
        place = rng.choice(genes.free)
        other = genes[place].low if parent[place] == genes[place].up else genes[place].up
        found += [parent, [*parent[:place], other, *parent[place + 1 :]]]
    return found


@pytest.mark.parametrize(
    ("architecture", "objective", "given"),
    [
        ("gpt2", "kl", {}),  # the embedding is tied to the head
        ("gpt_neox", "perplexity", {"reuse_mib": 0}),
        ("llama", "kl", {"transforms": "weights"}),
    ],
)
def test_a_generation_at_once_scores_the_same_bits_as_each_alone(
    home, language_model, architecture, objective, given, threads
):
    settings = home(architecture, objective=objective, **given)
    resident, alone, streamed, copied = (language_model(**settings, memory=m) for m in ("resident", *["stream"] * 3))
    set_execution_device(copied.session.resident.model, torch.device("cpu"))  # as where the weights are not on the GPU
    genomes = relatives(resident, 2)
    for fidelity in (1.0, 0.5, 1.0):  # the third time with states that others left
        expected = [resident.evaluate(genome, fidelity) for genome in genomes]
        assert streamed.evaluate_batch(genomes, fidelity) == expected
        assert copied.evaluate_batch(genomes, fidelity) == expected
        assert [alone.evaluate(genome, fidelity) for genome in genomes] == expected
        assert [copied.evaluate(genome, fidelity) for genome in genomes] == expected
    assert streamed.batch
    assert not resident.batch
    assert resident.evaluate_batch(genomes) == streamed.evaluate_batch(genomes)
    last = streamed.session.transform
    last.apply(genomes[-1])
    assert streamed.session.resident.removed_weights == resident.session.resident.removed_weights


def test_equal_first_blocks_run_once_and_a_weight_is_made_once_for_all_batches(home, language_model, monkeypatch):
    made, ran = [], []
    values = GgmlMatrix.values

    def counted(encoded, matrix, weight, rows=None):
        made.extend([matrix.name] if rows is None else [])
        return values(encoded, matrix, weight, rows)

    monkeypatch.setattr(GgmlMatrix, "values", counted)
    problem = language_model(**home(), memory="stream")
    lowest = [gene.up for gene in problem.genes]
    last = [place for place, name in enumerate(problem.genes.names) if ".2." in name]  # of the last block
    genomes = [problem.session.transform.dense, lowest, *([*lowest[:p], 0.0, *lowest[p + 1 :]] for p in last[:2])]
    blocks = problem.session.resident.forward._blocks
    for number, block in enumerate(blocks):
        block.ln_1.register_forward_pre_hook(lambda *_, number=number: ran.append(number))
    problem.evaluate_batch(genomes)
    assert [ran.count(number) / 3 for number in range(3)] == [2, 2, 4]  # in three batches, of the dense one too
    heads, each = 3, len(problem.session.resident.matrices) // 3
    assert len(made) == each + each + (3 * each - 2) + heads


def test_states_that_memory_has_no_room_for_are_in_a_file(home, language_model, monkeypatch, capsys):
    problem = language_model(**home(reuse_mib=0), memory="stream")
    genomes = relatives(problem, 2)
    expected = [problem.evaluate(genome) for genome in genomes]
    monkeypatch.setattr(memory, "free_memory", lambda _: 0)
    assert problem.evaluate_batch(genomes) == expected
    assert list(cache_folder().glob("tmp*")) == []

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    capsys.readouterr()
    assert problem.evaluate_batch(genomes) == expected
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert os.strerror(errno.ENOSPC) in said[0]


def test_the_history_depends_on_neither_memory_nor_processes_nor_where_it_was_cut(small, tmp_path):
    def run(memory, *options):
        problem = small | {"use": "pruning", "curve": [0.3], "memory": memory}
        return run_in(tmp_path, problem, *options, name=memory)

    resident, streamed = run("resident"), run("stream", "--map", "processes")
    assert lines(streamed) == lines(resident)
    resume_cut(streamed, len(lines(resident)) - 2)  # in this process, and a part of the generation
    assert lines(streamed) == lines(resident)
