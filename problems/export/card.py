"""Model cards: the change of the model, its perplexities, and how to repeat the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from evoprune import plain
from problems.export.runtime import lines
from problems.results.learning_curve import FIGURE
from problems.results.protocol import PERPLEXITY
from problems.results.result import EVOLVED
from problems.results.run_record import Cost, RecoveredRow, RunRecord

_CURVE = f"\n![Held-out windows against the tokens trained on]({FIGURE}.png)"


def card(run: RunRecord, facts: Mapping[str, Any]) -> str:
    """Text of ``README.md`` in a folder. ``facts``: those of ``evoprune.json``."""
    tags = ["quantized"] * bool(_types(facts)) + ["pruned"] * _is_smaller(run)
    tags = ["pruned", "sparse"] if _is_sparse(run, facts) else tags
    head = front_matter(facts, {"library_name": "transformers"}, [*tags, "evoprune"])
    return "\n".join([*head, *_body(run, facts)]) + "\n"


def front_matter(facts: Mapping[str, Any], library: Mapping[str, str], tags: Sequence[str]) -> Iterator[str]:
    """Head of a card, which the hub reads."""
    head = {**library, "pipeline_tag": "text-generation", "base_model": facts["base_model"], "tags": tags}
    yield "---"
    yield yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip()
    yield "---"


def _body(run: RunRecord, facts: Mapping[str, Any]) -> Iterator[str]:
    name = inline(facts["base_model"])
    if run.cost and _is_smaller(run):
        yield from _smaller(name, run.cost, facts)
    else:
        yield from _sparse(name, facts) if _is_sparse(run, facts) else _rounded(name, facts)
    if runtime := facts.get("runtime"):
        yield from _before_and_after(runtime, facts)
    yield from perplexities(run, facts)
    if run.recovered:
        yield _CURVE
    yield "\n## Protocol\n"
    yield (
        f"{how_measured(run)}; these files hold {facts['dtype']}. A process "
        f"with {'evoprune' if facts['ragged'] else 'transformers alone'} measured "
        f"{plain(facts['check']['perplexity'])} (tolerance {facts['check']['tolerance']:g}, relative).\n"
    )
    if _is_sparse(run, facts):
        yield from _by_layer(facts["sparsity"])
    yield from repeat(run, "experiment.yaml")


def _is_smaller(run: RunRecord) -> bool:
    return run.cost is not None and run.cost.parameters.evolved < run.cost.parameters.dense


def _types(facts: Mapping[str, Any]) -> str:
    """Number of matrices with the values of each GGUF type."""
    return ", ".join(f"{count} {kind}" for kind, count in facts.get("types", {}).items())


def _is_sparse(run: RunRecord, facts: Mapping[str, Any]) -> bool:
    """Return True if weights were set to zero; some may be rounded to it besides."""
    return not _is_smaller(run) and not _types(facts)


def perplexities(run: RunRecord, facts: Mapping[str, Any]) -> Iterator[str]:
    """The tables of the run's perplexities, and of the recovery."""
    staged = facts["transform"].get("reconstruct_stages")
    judged = "text, assembled from reconstructed layers" if staged else "text"
    yield f"| perplexity | dense | uniform | {called(facts)} |\n|---|---|---|---|"
    for which in ("report", "search"):
        three = getattr(run.perplexity, which)
        yield f"| {which} {judged} | {plain(three.dense)} | {plain(three.uniform)} | {plain(three.evolved)} |"
        if (three := getattr(run.perplexity, f"{which}_reconstructed")) is not None:
            yield f"| {which} text, reconstructed | | {plain(three.uniform)} | {plain(three.evolved)} |"
    if run.recovered:
        yield from _recovered(run.recovered, facts["protocol"].get("recovery", {}))


def how_measured(run: RunRecord) -> str:
    """The protocol of the run: the beginning of a paragraph."""
    text = run.protocol.report_text
    return (
        f"Perplexity is {PERPLEXITY}. Report text, which the search never saw: "
        f"{inline(text.source.rsplit('/', 1)[-1])}, {text.windows} windows of {text.window} tokens, "
        f"SHA-256 of the tokens `{text.sha256}`. The run computed in "
        f"{inline(run.protocol.dtype)} on {inline(run.protocol.device)}"
    )


def repeat(run: RunRecord, experiment: str) -> Iterator[str]:
    """The command that repeats the run, if one found the model. ``experiment``: the name of its file."""
    if run.rival:
        return
    yield "\n## Repeat the run\n"
    yield f"```\npython -m evoprune run {experiment}\n```\n"
    yield f"`{experiment}` is in the same folder; the seed is {run.seed}."


def _sparse(name: str, facts: Mapping[str, Any]) -> Iterator[str]:
    sparsity = facts["sparsity"]
    update = facts["transform"].get("reconstruct", "none")
    updated = [] if update == "none" else [f"the remaining weights were updated by {update}"]
    trained = ["the remaining weights were trained"] if facts.get("recovered") else []
    rest = ", then ".join(updated + trained) or "nothing was trained"
    yield f"\n# {name}, pruned to {sparsity['prunable']:.1%}\n"
    yield (
        f"{sparsity['prunable']:.2%} of the {sparsity['denominators']['prunable']:,} prunable weights of {name} are "
        f"zero ({sparsity['model']:.2%} of all {sparsity['denominators']['model']:,}). The sparsity of each layer "
        f"{how_found(facts)}; {rest}. It loads like any other "
        "model. The zeros are unstructured: in this form they save neither memory nor time.\n"
    )


def _rounded(name: str, facts: Mapping[str, Any]) -> Iterator[str]:
    trained = "Weights were trained, too. " if facts.get("recovered") else ""
    yield f"\n# {name}, rounded to GGUF types\n"
    yield f"The type of each matrix {how_found(facts)}. {trained}{_in_full(facts)} It loads like any other model.\n"


def _in_full(facts: Mapping[str, Any]) -> str:
    return (
        f"Matrices have the values that GGUF types hold ({_types(facts)}), here in {facts['dtype']}, so that these "
        "files are not smaller by it: `python -m evoprune export RUN OUT.gguf` writes the small one."
    )


def called(facts: Mapping[str, Any]) -> str:
    """Name of the model in tables: a baseline of others has its own."""
    rival = facts.get("rival")
    return inline(rival) if rival else EVOLVED


def how_found(facts: Mapping[str, Any]) -> str:
    """Origin of the choice: the end of a sentence."""
    if rival := facts.get("rival"):
        return f"is that of {inline(rival)}, to compare results of a search with"
    if facts.get("chosen", EVOLVED) == EVOLVED:
        return "was found by an evolutionary search with evoprune"
    return f"is {inline(facts['chosen'])}: an evolutionary search with evoprune gained nothing over it"


def _smaller(name: str, cost: Cost, facts: Mapping[str, Any]) -> Iterator[str]:
    dense, evolved = cost.parameters.dense, cost.parameters.evolved
    yield f"\n# {name} with {1 - evolved / dense:.1%} of its parameters removed\n"
    loads = (
        "Its layers differ in shape, so that transformers alone cannot load it: "
        "`model, tokenizer = evoprune.load(folder)` does."
        if facts["ragged"]
        else "It loads like any other model."
    )
    yield (
        f"{name} has {dense:,} parameters, this model {evolved:,}; its files of weights have {facts['bytes']:,} bytes. "
        f"The cut {how_found(facts)}; "
        f"{'the rest was then' if facts.get('recovered') else 'nothing was'} trained. {loads}\n"
    )
    if _types(facts):
        yield f"{_in_full(facts)}\n"


def _before_and_after(runtime: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"- {line}" for line in lines(runtime, called(facts)))
    yield (
        f"\nDense is the model before, in its own files. Speeds of a prompt of {runtime['length']} tokens, and of one "
        f"token after as many: both models timed in turn, {runtime['threads']} "
        f"thread{'s' * (runtime['threads'] > 1)}, {inline(runtime['processor'])}, computed in {runtime['dtype']}. "
        "Memory: of a process that loads and runs the model.\n"
    )


def recovered_card(name: str, teacher: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Text of ``README.md`` for a model that evoprune recovered, but did not make smaller."""
    lines = [f"# {inline(name)}, recovered\n", f"Its dense model is {inline(teacher)}."]
    typed = {key: RecoveredRow.model_validate(row) for key, row in rows.items()}
    return "\n".join([*lines, *_recovered(typed, {}), _CURVE]) + "\n"


def _recovered(rows: Mapping[str, RecoveredRow], how: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Recovered\n"
    text = how.get("text", {}).get("source")
    of = f" of {inline(str(text).rsplit('/', 1)[-1])}" if text else ""
    yield (
        f"Trained on windows{of} to predict what the dense model predicts; measured on the report text, which was not "
        f"trained on. Divergence is that from the dense model as it was, in nats a token.{_behind(rows.get('dense'))}\n"
    )
    yield "| | perplexity before | after | divergence before | after | tokens | minutes | trained | behind dense |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, row in rows.items():
        numbers = (row.perplexity_before, row.perplexity_after, row.divergence_before, row.divergence_after)
        yield (
            f"| {name} | {' | '.join(map(plain, numbers))} | {row.tokens:,} | {row.minutes:g} | {row.trained} "
            f"| {plain(row.behind_dense)} |"
        )


def _behind(dense: RecoveredRow | None) -> str:
    """Explain the last column of :func:`_recovered`. ``dense``: the dense model's row, if there is one."""
    if dense is None:
        return ""
    if not dense.tokens:
        return " The last column is the distance from the dense model, which has nothing to learn here."
    return (
        " The last column is the distance from the dense model after the same training, in nats a token: it makes a "
        "dense model better, too."
    )


def _by_layer(sparsity: Mapping[str, Any]) -> Iterator[str]:
    yield "## Zeros in each block\n\n| block | zeros |\n|---|---|"
    for block, (zeros, weights) in _by_block(sparsity["matrices"]).items():
        yield f"| {block} | {zeros / weights:.2%} |"
    yield "\nOf each matrix: `evoprune.json`."


def _by_block(matrices: Mapping[str, Mapping[str, int]]) -> dict[int, tuple[int, int]]:
    blocks: dict[int, tuple[int, int]] = {}
    for matrix in matrices.values():
        zeros, weights = blocks.get(matrix["block"], (0, 0))
        blocks[matrix["block"]] = (zeros + matrix["zeros"], weights + matrix["weights"])
    return blocks


def inline(text: str) -> str:
    """Quote ``text`` as code, in which Markdown has no effect."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"
