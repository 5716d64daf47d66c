"""Model cards: the change of the model, its perplexities, and the command of the run."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

import yaml

from evoprune.plugins import EVOLVED, plain
from evoprune.problems.language_model.evaluation.session import PERPLEXITY
from evoprune.problems.language_model.export.facts import ExportFacts
from evoprune.problems.language_model.export.runtime import runtime_lines
from evoprune.problems.language_model.results.figures import RECOVERY
from evoprune.problems.language_model.results.result import RecoveredRow
from evoprune.problems.language_model.results.summary import LABELS, warning
from evoprune.problems.language_model.transforms import UNIFORM


def card(facts: ExportFacts) -> Iterator[str]:
    """Yield the ``README.md`` of a folder."""
    pruned = facts.is_smaller or not facts.types  # else weights may be rounded to zero
    tags = ["quantized"] * bool(facts.types) + ["pruned"] * pruned + ["sparse"] * (pruned and not facts.is_smaller)
    yield from front_matter(facts, "transformers", [*tags, "evoprune"])
    yield from _change(facts)
    yield from (f"**{line}**\n" for line in warning(facts))
    if runtime := facts.runtime:
        yield from (f"- {line}" for line in runtime_lines(runtime.model_dump(), model_label(facts)))
        yield (
            f"\nDense is the model before, in its own files. Speeds of a prompt of {runtime.length} tokens, and of one "
            f"token after as many: both models timed in turn on {code_span(runtime.machine)}, computed in "
            f"{runtime.dtype}. Memory: of a process that loads and runs the model.\n"
        )
    yield from perplexity_tables(facts)
    if facts.recovered:
        yield f"\n![Held-out windows against the tokens trained on]({RECOVERY}.png)"
    yield "\n## Protocol\n"
    yield (
        f"{protocol_text(facts)}; these files hold {facts.dtype}. A process "
        f"with {'evoprune' if facts.ragged else 'transformers alone'} measured "
        f"{plain(facts.check.perplexity)}: {facts.check.measurements}. Zeros of each matrix: `evoprune.json`.\n"
    )
    yield from reproduction(facts, "experiment.yaml")


def front_matter(facts: ExportFacts, library: str, tags: Sequence[str]) -> Iterator[str]:
    """Yield the YAML metadata of a card, which the hub reads."""
    head = {"library_name": library, "pipeline_tag": "text-generation", "base_model": facts.base_model, "tags": tags}
    yield "---"
    yield yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip()
    yield "---"


def _change(facts: ExportFacts) -> Iterator[str]:
    """Yield title and change of the model: smaller, in types or with zeros."""
    name, change = code_span(facts.base_model), origin(facts)
    loads = "It loads like any other model."
    kinds = ", ".join(f"{count} {kind}" for kind, count in facts.types.items())
    in_full = (
        f"Matrices have the values that quantised types hold ({kinds}), here in {facts.dtype}, so that these "
        "files are not smaller by it: the command `export` writes the small one, to a file of their format."
    )
    if facts.is_smaller:
        parameters = facts.cost.parameters
        if facts.ragged:
            loads = (
                "Its layers differ in shape, so that transformers alone cannot load it: "
                "`model, tokenizer = evoprune.load(folder)` does."
            )
        yield f"\n# {name} with {facts.cost.savings['parameters']:.1%} of its parameters removed\n"
        yield (
            f"{name} has {parameters.dense:,} parameters, this model {parameters.evolved:,}; its files of weights have "
            f"{facts.bytes:,} bytes. The cut {change}; "
            f"{'the rest was then' if facts.recovered else 'nothing was'} trained. {loads}\n"
        )
        if facts.types:
            yield f"{in_full}\n"
    elif facts.types:
        trained = "Weights were trained, too. " if facts.recovered else ""
        yield f"\n# {name}, rounded to quantised types\n"
        yield f"The type of each matrix {change}. {trained}{in_full} {loads}\n"
    else:
        sparsity, update = facts.sparsity, facts.transform.get("reconstruct", "none")
        rest = [f"the remaining weights were updated by {update}"] * (update != "none")
        rest += ["the remaining weights were trained"] * bool(facts.recovered)
        yield f"\n# {name}, pruned to {sparsity.prunable:.1%}\n"
        yield (
            f"{sparsity.prunable:.2%} of the {sparsity.denominators['prunable']:,} prunable weights of {name} are "
            f"zero ({sparsity.model:.2%} of all {sparsity.denominators['model']:,}). The sparsity of each layer "
            f"{change}; {', then '.join(rest) or 'nothing was trained'}. {loads} The zeros are unstructured: in this "
            "form they save neither memory nor time.\n"
        )


def perplexity_tables(facts: ExportFacts) -> Iterator[str]:
    """Yield tables of the run's perplexities, and of the recovery."""
    staged = facts.transform.get("reconstruct_stages")
    judged = "text, assembled from reconstructed layers" if staged else "text"
    names = {name: model_label(facts) if name == EVOLVED else name for name in facts.perplexity.report.measured}
    yield f"| perplexity | {' | '.join(names.values())} |\n{'|---' * (1 + len(names))}|"
    for which in ("report", "search"):
        for said, scores in {
            f"{which} {judged}": getattr(facts.perplexity, which),
            f"{which} text, reconstructed": getattr(facts.perplexity, f"{which}_reconstructed"),
        }.items():
            if scores is not None:
                yield f"| {said} | {' | '.join(plain(scores.measured.get(name)) for name in names)} |"
    if UNIFORM in names:
        yield "\nUniform: every layer loses the same share."
    if facts.recovered:
        how = facts.protocol.recovery
        yield from _recovered(facts.recovered, how.text.get("source") if how else None)


def protocol_text(facts: ExportFacts) -> str:
    """Return the protocol of the run: the start of a paragraph."""
    protocol, text = facts.protocol, facts.protocol.report_text
    return (
        f"Perplexity is {PERPLEXITY}. Report text, which the search never saw: {code_span(text.name)}, {text.windows} "
        f"windows of {text.window} tokens, SHA-256 of the tokens `{text.sha256}`. The run computed in "
        f"{code_span(protocol.dtype)} on {code_span(protocol.device)}"
    )


def reproduction(facts: ExportFacts, experiment: str) -> Iterator[str]:
    """Yield the command that repeats the run, if the model is its result. ``experiment``: name of the YAML file."""
    if not facts.baseline:
        yield "\n## Repeat the run\n"
        yield f"```\npython -m evoprune run {shlex.quote(experiment)}\n```\n"
        yield f"`{experiment}` is in the same folder; the seed is {facts.seed}."


def model_label(facts: ExportFacts) -> str:
    """Return the name of the model in tables."""
    return code_span(facts.baseline) if facts.baseline else LABELS[EVOLVED]


def origin(facts: ExportFacts) -> str:
    """Return the origin of the genome: the end of a sentence."""
    if facts.baseline:
        return f"is that of {code_span(facts.baseline)}, to compare results of a search with"
    if facts.winner == EVOLVED and facts.evaluations == 1:
        return "has the least estimated loss within the limit (a knapsack); nothing was searched"
    if facts.winner == EVOLVED:
        return "was found by an evolutionary search with evoprune"
    return f"is {code_span(facts.winner)}: an evolutionary search with evoprune gained nothing over it"


def _recovered(rows: Mapping[str, RecoveredRow], source: str | None) -> Iterator[str]:
    behind = ""
    if dense := rows.get("dense"):
        trained = "after the same training, in nats a token" if dense.tokens else "which has nothing to learn here"
        behind = f" The last column is the distance from the dense model, {trained}."
    text = f" of {code_span(source.rsplit('/', 1)[-1])}" if source else ""
    yield "\n## Recovered\n"
    yield (
        f"Trained on windows{text} to predict what the dense model predicts; measured on the report text, which was "
        f"not trained on. Divergence is that from the dense model as it was, in nats a token.{behind}\n"
    )
    yield "| | perplexity before | after | divergence before | after | tokens | minutes | trained | behind dense |"
    yield f"{'|---' * 9}|"
    for name, row in rows.items():
        numbers = (row.perplexity_before, row.perplexity_after, row.divergence_before, row.divergence_after)
        yield (
            f"| {LABELS.get(name, name)} | {' | '.join(map(plain, numbers))} | {row.tokens:,} | {row.minutes:g} "
            f"| {row.trained} | {plain(row.behind_dense)} |"
        )


def code_span(text: str) -> str:
    """Quote ``text`` as code, in which Markdown has no effect."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"
