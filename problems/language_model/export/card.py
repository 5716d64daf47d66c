"""Model cards: the change of the model, its perplexities, and how to repeat the run."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from evoprune.console.formatting import plain
from evoprune.problems.language_model.evaluation.session import PERPLEXITY
from evoprune.problems.language_model.export.facts import ExportFacts
from evoprune.problems.language_model.export.runtime import lines
from evoprune.problems.language_model.results.figures import RECOVERY
from evoprune.problems.language_model.results.result import EVOLVED, RecoveredRow

_CURVE = f"\n![Held-out windows against the tokens trained on]({RECOVERY}.png)"


def card(facts: ExportFacts) -> str:
    """Return the ``README.md`` of a folder."""
    tags = ["quantized"] * bool(facts.types) + ["pruned"] * facts.is_smaller + ["pruned", "sparse"] * _is_sparse(facts)
    head = front_matter(facts, {"library_name": "transformers"}, [*tags, "evoprune"])
    return "\n".join([*head, *_body(facts)]) + "\n"


def front_matter(facts: ExportFacts, library: Mapping[str, str], tags: Sequence[str]) -> Iterator[str]:
    """Head of a card, which the hub reads."""
    head = {**library, "pipeline_tag": "text-generation", "base_model": facts.base_model, "tags": tags}
    yield "---"
    yield yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip()
    yield "---"


def _body(facts: ExportFacts) -> Iterator[str]:
    if facts.is_smaller:
        yield from _smaller(facts)
    else:
        yield from _sparse(facts) if _is_sparse(facts) else _rounded(facts)
    if facts.runtime:
        yield from _before_and_after(facts)
    yield from perplexities(facts)
    if facts.recovered:
        yield _CURVE
    yield "\n## Protocol\n"
    yield (
        f"{how_measured(facts)}; these files hold {facts.dtype}. A process "
        f"with {'evoprune' if facts.ragged else 'transformers alone'} measured "
        f"{plain(facts.check.perplexity)}: {facts.check.compared}.\n"
    )
    if _is_sparse(facts):
        yield from _by_block(facts)
    yield from repeat(facts, "experiment.yaml")


def _is_sparse(facts: ExportFacts) -> bool:
    """Return True if weights were set to zero; some may be rounded to it besides."""
    return not facts.is_smaller and not facts.types


def perplexities(facts: ExportFacts) -> Iterator[str]:
    """The tables of the run's perplexities, and of the recovery."""
    staged = facts.transform.get("reconstruct_stages")
    judged = "text, assembled from reconstructed layers" if staged else "text"
    yield f"| perplexity | dense | uniform | {called(facts)} |\n|---|---|---|---|"
    for which in ("report", "search"):
        scores = getattr(facts.perplexity, which)
        yield f"| {which} {judged} | {plain(scores.dense)} | {plain(scores.uniform)} | {plain(scores.evolved)} |"
        if (scores := getattr(facts.perplexity, f"{which}_reconstructed")) is not None:
            yield f"| {which} text, reconstructed | | {plain(scores.uniform)} | {plain(scores.evolved)} |"
    if facts.recovered:
        how = facts.protocol.recovery
        yield from _recovered(facts.recovered, how.text if how else {})


def how_measured(facts: ExportFacts) -> str:
    """The protocol of the run: the beginning of a paragraph."""
    protocol, text = facts.protocol, facts.protocol.report_text
    return (
        f"Perplexity is {PERPLEXITY}. Report text, which the search never saw: {inline(text.name)}, {text.windows} "
        f"windows of {text.window} tokens, SHA-256 of the tokens `{text.sha256}`. The run computed in "
        f"{inline(protocol.dtype)} on {inline(protocol.device)}"
    )


def repeat(facts: ExportFacts, experiment: str) -> Iterator[str]:
    """The command that repeats the run, if one found the model. ``experiment``: the name of its file."""
    if facts.rival:
        return
    yield "\n## Repeat the run\n"
    yield f"```\npython -m evoprune run {shlex.quote(experiment)}\n```\n"
    yield f"`{experiment}` is in the same folder; the seed is {facts.seed}."


def _sparse(facts: ExportFacts) -> Iterator[str]:
    name, sparsity, update = inline(facts.base_model), facts.sparsity, facts.transform.get("reconstruct", "none")
    updated = [] if update == "none" else [f"the remaining weights were updated by {update}"]
    trained = ["the remaining weights were trained"] if facts.recovered else []
    rest = ", then ".join(updated + trained) or "nothing was trained"
    yield f"\n# {name}, pruned to {sparsity.prunable:.1%}\n"
    yield (
        f"{sparsity.prunable:.2%} of the {sparsity.denominators['prunable']:,} prunable weights of {name} are "
        f"zero ({sparsity.model:.2%} of all {sparsity.denominators['model']:,}). The sparsity of each layer "
        f"{how_found(facts)}; {rest}. It loads like any other "
        "model. The zeros are unstructured: in this form they save neither memory nor time.\n"
    )


def _rounded(facts: ExportFacts) -> Iterator[str]:
    trained = "Weights were trained, too. " if facts.recovered else ""
    yield f"\n# {inline(facts.base_model)}, rounded to GGUF types\n"
    yield f"The type of each matrix {how_found(facts)}. {trained}{_in_full(facts)} It loads like any other model.\n"


def _in_full(facts: ExportFacts) -> str:
    types = ", ".join(f"{count} {kind}" for kind, count in facts.types.items())
    return (
        f"Matrices have the values that GGUF types hold ({types}), here in {facts.dtype}, so that these "
        "files are not smaller by it: `python -m evoprune export RUN OUT.gguf` writes the small one."
    )


def called(facts: ExportFacts) -> str:
    """Name of the model in tables: a baseline of others has its own."""
    return inline(facts.rival) if facts.rival else EVOLVED


def how_found(facts: ExportFacts) -> str:
    """Origin of the choice: the end of a sentence."""
    if facts.rival:
        return f"is that of {inline(facts.rival)}, to compare results of a search with"
    if facts.winner == EVOLVED:
        return "was found by an evolutionary search with evoprune"
    return f"is {inline(facts.winner)}: an evolutionary search with evoprune gained nothing over it"


def _smaller(facts: ExportFacts) -> Iterator[str]:
    assert facts.cost is not None
    name, parameters = inline(facts.base_model), facts.cost.parameters
    yield f"\n# {name} with {facts.cost.savings['parameters']:.1%} of its parameters removed\n"
    loads = (
        "Its layers differ in shape, so that transformers alone cannot load it: "
        "`model, tokenizer = evoprune.load(folder)` does."
        if facts.ragged
        else "It loads like any other model."
    )
    yield (
        f"{name} has {parameters.dense:,} parameters, this model {parameters.evolved:,}; its files of weights have "
        f"{facts.bytes:,} bytes. The cut {how_found(facts)}; "
        f"{'the rest was then' if facts.recovered else 'nothing was'} trained. {loads}\n"
    )
    if facts.types:
        yield f"{_in_full(facts)}\n"


def _before_and_after(facts: ExportFacts) -> Iterator[str]:
    assert facts.runtime is not None
    runtime = facts.runtime
    yield from (f"- {line}" for line in lines(runtime.model_dump(), called(facts)))
    yield (
        f"\nDense is the model before, in its own files. Speeds of a prompt of {runtime.length} tokens, and of one "
        f"token after as many: both models timed in turn on {inline(runtime.machine)}, computed in {runtime.dtype}. "
        "Memory: of a process that loads and runs the model.\n"
    )


def _recovered(rows: Mapping[str, RecoveredRow], text: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Recovered\n"
    behind = ""
    if dense := rows.get("dense"):
        trained = "after the same training, in nats a token" if dense.tokens else "which has nothing to learn here"
        behind = f" The last column is the distance from the dense model, {trained}."
    of = f" of {inline(str(text['source']).rsplit('/', 1)[-1])}" if text.get("source") else ""
    yield (
        f"Trained on windows{of} to predict what the dense model predicts; measured on the report text, which was not "
        f"trained on. Divergence is that from the dense model as it was, in nats a token.{behind}\n"
    )
    yield "| | perplexity before | after | divergence before | after | tokens | minutes | trained | behind dense |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, row in rows.items():
        numbers = (row.perplexity_before, row.perplexity_after, row.divergence_before, row.divergence_after)
        yield (
            f"| {name} | {' | '.join(map(plain, numbers))} | {row.tokens:,} | {row.minutes:g} | {row.trained} "
            f"| {plain(row.behind_dense)} |"
        )


def _by_block(facts: ExportFacts) -> Iterator[str]:
    yield "## Zeros in each block\n\n| block | zeros |\n|---|---|"
    zeros, weights = Counter[int](), Counter[int]()
    for matrix in facts.sparsity.matrices.values():
        zeros[matrix.block] += matrix.zeros
        weights[matrix.block] += matrix.weights
    yield from (f"| {block} | {zeros[block] / weights[block]:.2%} |" for block in weights)
    yield "\nOf each matrix: `evoprune.json`."


def inline(text: str) -> str:
    """Quote ``text`` as code, in which Markdown has no effect."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"
