"""Checks of the contracts of transforms and export formats, for the tests of plugin authors.

::

    def test_transform():
        check_transform(LanguageModel(LanguageModel.Settings(transforms="mine")).session)


    def test_format(tmp_path):
        check_format(Mine, Run.open("runs/small"), tmp_path / "model.mine")
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from evoprune import Budget, Run
from evoprune.problems.language_model.budgets.amounts import weights
from evoprune.problems.language_model.evaluation.measure import Measure, Perplexity
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.export import ExportOptions
from evoprune.problems.language_model.export.format import ExportFormat, checked_result
from evoprune.problems.language_model.models.blocks import find_blocks
from evoprune.problems.language_model.models.tensor_file import Tensors
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.transforms.first_genomes import initial_genomes
from evoprune.testing import check_budget, check_genes

_TOLERANCE = 1e-3
"""Largest difference between the weights of a model and the count of the budget, as a share of all weights."""


def check_transform(session: Session, pairs: int = 6, seed: int = 0) -> None:
    """Raise AssertionError unless ``session.transform`` keeps the contract of a transform.

    ``pairs``: random parents, each with a child that differs in one gene. The model must be dense, in float32 and on
    the CPU, and small.
    """
    transform = session.transform
    check_genes(transform.genes)
    assert len(transform.dense) == len(transform.genes), "dense: expected a value for each gene"
    assert transform.uniform(0.0) == transform.dense, "uniform: expected the dense genome for a share of 0"
    for genome in initial_genomes(transform):
        assert genome == transform.genes.nearest(genome), "initial_genomes: expected genomes of the transform's genes"
    budget = weights(transform)
    check_budget(budget)
    before = _weights(session)
    rng = random.Random(seed)
    for parent in [_drawn(session, rng) for _ in range(pairs)]:
        child = list(parent)
        place = rng.choice(transform.genes.free)
        child[place] = transform.genes[place].nearest(_drawn(session, rng)[place])
        seen = [_applied(session, genome) for genome in (parent, child, parent)]
        assert _equal(seen[0][0], seen[2][0]), "the same genome gives another model after a different one was applied"
        assert seen[0][1] == seen[2][1], "the same genome gives other fingerprints after a different one was applied"
        _check_fingerprints(session, seen[0], seen[1])
        _check_counted(session, budget, parent)
        for genome in (parent, child):
            _check_reuse(session, genome)
    transform.apply(transform.dense)
    assert _equal(before, _weights(session)), "the dense genome does not give the model back as it was"


def _drawn(session: Session, rng: random.Random) -> list[float]:
    genes = session.transform.genes
    return genes.nearest([rng.uniform(gene.low, gene.up) for gene in genes])


def _weights(session: Session) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in session.resident.model.state_dict().items()}


def _applied(session: Session, genome: Sequence[float]) -> tuple[Tensors, list[str]]:
    session.transform.apply(genome)
    return _weights(session), [*map(repr, session.transform.block_fingerprints())]


def _equal(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _check_fingerprints(session: Session, one: tuple[Tensors, list[str]], other: tuple[Tensors, list[str]]) -> None:
    model = session.resident.model
    prefix = find_blocks(model)[0]
    assert len(one[1]) == session.resident.forward.depth, "expected a fingerprint for each block"
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    names = {module: f"{name}." for name, module in model.named_modules()}
    embedding, head = (names.get(end, "?") for end in ends)

    def same(*starts: str, within: bool = True) -> bool:
        both = ({n: t for n, t in weights.items() if n.startswith(starts) == within} for weights in (one[0], other[0]))
        return _equal(*both)

    assert same(f"{prefix}.", embedding, head, within=False), (
        "weights outside the blocks, of neither embedding nor head, changed"
    )
    for block, (first, second) in enumerate(zip(one[1], other[1], strict=True)):
        starts = [f"{prefix}.{block}."] + [embedding] * (block == 0)  # the head changes no states
        assert same(*starts) or first != second, f"block {block} changed, but its fingerprint did not"


def _check_counted(session: Session, budget: Budget, genome: Sequence[float]) -> None:
    session.transform.apply(session.transform.dense)
    already = session.resident.removed_weights
    session.transform.apply(genome)
    if session.transform.encoded():
        return  # rounding to zero removes no weight
    total = session.resident.prunable_weights
    remaining = total - session.resident.removed_weights
    assert abs(budget.spent(genome) - remaining) <= already + _TOLERANCE * total, (
        f"the budget counts {budget.spent(genome):,.0f} remaining weights, the model has {remaining:,}"
    )


def _check_reuse(session: Session, genome: Sequence[float]) -> None:
    value, tokens = session.fitness.value(genome)
    search = session.texts.retokenised(session.texts.search)
    assert tokens == search.tokens.numel(), "expected all tokens of the search text to be scored"
    if session.settings.objective == "perplexity":
        plain = Measure(session.resident.forward, session.fitness.measure.batch_tokens)
        whole = Perplexity().value(search.loss_scale * plain.total(search.tokens, Perplexity().add), search.predictions)
        assert value == whole, f"with reused states the value is {value}, without {whole}: are the fingerprints right?"


def check_format(kind: type[ExportFormat], run: Run, place: Path, options: ExportOptions | None = None) -> None:
    """Raise AssertionError unless the format ``kind`` keeps the contract of export formats.

    Writes the result of ``run`` to folders next to ``place``: twice unchanged, and once with recovered weights.
    """
    problem: Any = run.problem
    session: Session = problem.session
    options = options or kind.Options(untimed=True)
    before = session.fitness.value(run.best.genome)
    final = FinalModel(session, run.best.genome)
    first, second = (_written(kind, final, run.result, place, name, options) for name in ("first", "second"))
    assert first == second, "the same model gives other bytes when it is written again"
    session.transform.apply(session.transform.dense)
    weights = session.resident.model.named_parameters()
    trained = {name: 1.25 * weight for name, weight in weights if weight.dim() == 1 and ".0." in name}
    recovered = FinalModel(session, run.best.genome, trained)
    other = _written(kind, recovered, run.result, place, "recovered", options)
    assert other != first, "recovered weights are ignored: write those of final.copy()"
    assert session.fitness.value(run.best.genome) == before, "the session scores otherwise afterwards"


def _written(
    kind: type[ExportFormat], final: FinalModel, result: Any, place: Path, name: str, options: ExportOptions
) -> list[bytes]:
    folder = place.parent / name
    folder.mkdir()
    out, format_ = folder / place.name, kind(final, options)
    format_.check()
    exported = format_.write(checked_result(final, result), out)
    json.dumps(exported.facts, allow_nan=False)
    assert out.exists(), f"nothing is written to {out.name}"
    assert final.recovered or not exported.faults, f"the model as the run found it is unfit: {exported.faults}"
    files = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.suffix != ".md")
    return [path.read_bytes() for path in files if path.is_file()]
