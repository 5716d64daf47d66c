"""A result in words: labels, the verdict, and lines for a terminal. Imports no torch."""

from collections.abc import Iterator, Mapping, Sequence

from evoprune.plugins import EVOLVED, digits
from evoprune.problems.language_model.budgets import BITS_A_WEIGHT
from evoprune.problems.language_model.evaluation import EvaluationSettings
from evoprune.problems.language_model.models.settings import is_model_file, short_name
from evoprune.problems.language_model.results.result import (
    USABLE,
    Goal,
    LanguageModelResult,
    RecoveredRow,
    ResultFacts,
    Scores,
    gap_closed,
)
from evoprune.problems.language_model.transforms import UNIFORM

LABELS = {
    EVOLVED: "this model",
    "asked": "asked for, and reached",
    "unseen": "perplexity on the report text",
    "bits_per_byte": "bits per byte of the report text",
    "accuracy": "accuracy on the held-out lines",
    "gap_closed": "gap to dense closed, unseen text",
    "gap_closed_search": "gap to dense closed, the search's own text",
    "gap_closed_reconstructed": "gap to dense closed, both reconstructed",
    "untrained": "nothing was trained",
}

_NO_GAIN = 0.005  # share of the gap
_SHARES_OF = {unit: f"blocks' {unit}" for unit in ("weights", "parameters")}

PERCENTAGES = frozenset({"sparsity", "accuracy", "gap_closed", "gap_closed_search", "gap_closed_reconstructed"})

EXPLANATIONS = {
    "unseen": "how many tokens the model hesitates between, on text that the search never saw; lower is better",
    "perplexity": "exp of the mean loss of the next token. search: the text that candidates were scored on; held_out: "
    "other windows of it; report: another text",
    "bits_per_byte": "the loss in bits, divided by the bytes of the text; of the models as they are exported",
    "accuracy": "share of the report text's lines whose answer has the likeliest tokens, or the highest "
    "log-probability, divided by its characters, of the choices (acc_norm)",
    "sparsity": "weights that are zero or gone: of the prunable ones (the matrices of the blocks), and of all",
    "gap_closed": "share of the distance between uniform and dense, in log-perplexity on the report text, that the "
    "search makes good",
    "gap_closed_search": "the same on the text that candidates were scored on; the excess does not carry over",
    "gap_closed_reconstructed": "the same on the report text, where the remaining weights of both were updated",
    "overfitting": "the part of the gain over uniform, in nats a token, that this text lacks; 0: none",
    "cost": "what the models store, and compute for a token",
}


def about(settings: EvaluationSettings, how: Sequence[str]) -> str:
    """Return the title of a run: the model, ``how`` it is made smaller, and the texts."""
    sources = (settings.model, settings.search_text.source, settings.report_text.source)
    model, *texts = map(short_name, sources)
    return ", ".join([model, *how, " and ".join(dict.fromkeys(texts))])


def summary(result: LanguageModelResult) -> list[str]:
    """Return the verdict, then a line each on the search's gain, perplexities, costs, finals, recoveries."""
    return [verdict(result), *_gain(result, result.perplexity.exported), *_lines(result)]


def verdict(result: ResultFacts, size: int | None = None) -> str:
    """Return the size of the model, its goal, and its loss, in a sentence; ``size``: bytes of the export."""
    if size is None and "bits_per_weight" in result.cost.savings:
        size = round(result.cost.bytes.evolved)
    dense, evolved = map(result.final_bits_per_byte.get, ("dense", EVOLVED))
    if dense is not None and evolved is not None and is_model_file(result.protocol.model):
        lost = loss_phrase(evolved - dense)
    else:
        scores, row = result.perplexity.exported, result.improved.get(EVOLVED)
        before = digits(scores.evolved, 3)
        trained = f"{digits(row.perplexity_after, 3)} after recovery, {before} before" if row else before
        lost = f"perplexity {trained} (dense {digits(scores.dense, 3)})"
    head = "; ".join([*warning(result), size_and_goal(result, size)])
    return f"{head}: {', '.join([lost, *details(result)])}."


def warning(result: ResultFacts, usable: str = "") -> Iterator[str]:
    """Warn of an unusable model, and name a ``usable`` file, or a command that tells sizes."""
    if times := result.unusable_factor(result.final_perplexities[EVOLVED]):
        sized = result.asked and result.asked.unit in {"bytes", BITS_A_WEIGHT}
        way = f"; {usable} is usable" if usable else "; 'prune MODEL' tells sizes and their losses" if sized else ""
        yield f"UNUSABLE: perplexity {digits(times, 2)} times the source's, above {USABLE:g}{way}"


def details(result: ResultFacts) -> Iterator[str]:
    """Yield the tokens of a training, the accuracy of each model on a task file, and the loss on other texts."""
    row = (result.recovered or {}).get(EVOLVED)
    if result.untrained:
        yield f"nothing was trained: {result.untrained}"
    elif row and row.helped:
        yield f"trained on {row.tokens:,} tokens in {digits(row.minutes, 2)} minutes"
    elif row:
        yield f"training on {row.curve[-1]['tokens']:,} tokens did not help"
    if shares := result.final_accuracy:
        others = ", ".join(f"{name} {share:.1%}" for name, share in shares.items() if name != EVOLVED)
        yield f"accuracy {shares[EVOLVED]:.1%} on {result.protocol.report_text.windows} held-out lines ({others})"
    when = " before training" if row and row.helped else ""
    for second in result.second or ():
        before, after = map(second.bits_per_byte.get, ("dense", EVOLVED))
        if before is not None and after is not None:
            yield f"{loss_phrase(after - before)} on {second.text.name}{when}"


def size_and_goal(result: ResultFacts, size: int | None) -> str:
    """Return the result in the unit of the goal, the goal, and the ``size`` of file and source, if known."""
    goal, source = result.asked, result.protocol.source_bytes
    sizes = "" if size is None else _sizes(size, source)
    if goal is None:
        return ", ".join(filter(None, [_savings(result), sizes]))
    if goal.unit == "bytes" and not goal.share:
        return f"{sizes or _sizes(round(goal.got), source)} ({megabytes(goal.wanted)} asked for)"
    if goal.share:
        said = f"{_removed(goal)} ({100 * goal.wanted:.4g}% asked for)"
    elif goal.whole:
        said = f"{goal.got:,.0f} of {goal.whole:,.0f} {goal.unit} stay"
    else:
        unit = "times as fast" if goal.unit == "speedup" else goal.unit
        said = f"{goal.got:.2f} {unit} ({goal.wanted:g} asked for)"
    return ", ".join(filter(None, [said, sizes]))


def _removed(goal: Goal) -> str:
    return f"{goal.got:.1%} of the {_SHARES_OF.get(goal.unit, goal.unit)} removed"


def _sizes(size: int, source: int | None) -> str:
    if source is None:
        return megabytes(size)
    ours, theirs = megabytes(size), megabytes(source)
    return f"{ours}, larger than the source of {theirs}" if size > source and ours != theirs else f"{ours} of {theirs}"


def megabytes(size: float) -> str:
    """Format ``size``, in bytes."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def loss_phrase(bits: float, error: float | None = None) -> str:
    """Format a loss of ``bits`` per byte, with a standard ``error``, against the source."""
    spread = "" if error is None else f" ± {digits(error, 2)}"
    return f"{digits(abs(bits), 3)}{spread} bits per byte {'behind' if bits >= 0 else 'ahead of'} the source"


def _savings(result: ResultFacts) -> str:
    """Return the savings of a model without a goal; its zeros if it saves nothing else."""
    saved, bits, words, weight = result.cost.savings, result.cost.bits_per_weight, [], "weight"
    if "parameters" in saved:
        words.append(f"{saved['parameters']:.1%} of the parameters removed")
        weight = "weight that is left,"
    if "bits_per_weight" in saved:
        words.append(f"{bits.evolved:.2f} bits a {weight} instead of {bits.dense:.2f}")
    words = words or [f"{share:.1%} fewer {unit}" for unit, share in saved.items()]
    return ", ".join(words) or (f"{result.sparsity.prunable:.1%} of the weights removed" if result.sparsity else "")


def _gain(result: LanguageModelResult, scores: Scores) -> Iterator[str]:
    if UNIFORM not in scores.measured:
        return
    winner = UNIFORM if result.winner == EVOLVED and scores.evolved == scores.uniform else result.winner
    closed = gap_closed(scores.dense, scores.uniform, scores.evolved)
    if result.evaluations == 1:
        yield "Nothing was searched" + ("." if winner == EVOLVED else f"; the result is the {winner} model.")
    elif winner != EVOLVED:
        yield f"The search gained nothing over {winner} here; the result is the {winner} model."
    elif closed is not None and closed < _NO_GAIN:
        yield "On the report text, the search gained nothing over uniform."
    elif closed is not None:
        own = None if result.perplexity.report_reconstructed else result.gap_closed_search
        beside = "" if own is None else f", {own:.0%} on its own text"
        yield f"The search closed {closed:.0%} of what the uniform model loses on unseen text{beside}."


def _lines(result: LanguageModelResult) -> Iterator[str]:
    cost, perplexity, protocol = result.cost, result.perplexity, result.protocol
    saved = cost.savings
    goal = result.asked if result.asked and result.asked.share else None
    share = result.sparsity.prunable if result.sparsity else 0.0
    at = f"with {_removed(goal)}" if goal else f"at {share:.1%} of the prunable weights"
    if "bits_per_weight" in saved or ("bytes" in saved and not share):
        at = f"in {cost.bytes.evolved:,} bytes"
    gap = "" if result.gap_closed is None else f" ({result.gap_closed:.0%} of the gap closed)"
    yield f"perplexity on the report text: {_listed(perplexity.report.measured)} {at}{gap}"
    if "parameters" in saved:
        fewer = "" if goal else f" ({saved['parameters']:.1%} fewer)"
        yield f"parameters: dense {cost.parameters.dense:,}, this model {cost.parameters.evolved:,}{fewer}"
    if times := cost.milliseconds:
        yield (
            f"milliseconds {protocol.milliseconds}: dense {times.dense:.3g}, this model {times.evolved:.3g} "
            f"({times.dense / times.evolved:.2f}x; predicted {times.predicted:.3g})"
        )
    if updated := perplexity.report_reconstructed:
        method = f" by {protocol.reconstruct}" if protocol.reconstruct else ""
        yield f"reconstructed{method}: {_listed(updated.measured)}"
    if result.finalists:
        judged = _listed({name: row.judged for name, row in result.finalists.items()})
        name = f"candidate {result.best.candidate}" if result.winner == EVOLVED else result.winner
        how = "divergence" if protocol.objective == "kl" else protocol.objective
        yield f"finals, {how} on held-out windows: {judged}; {name} won"
    yield from recovered_lines(result.recovered or {})
    yield from result.notes or ()
    for second in result.second or ():
        yield f"bits per byte of {second.text.name}: {_listed(second.bits_per_byte)}"


def recovered_lines(rows: Mapping[str, RecoveredRow]) -> Iterator[str]:
    """Yield a line for each recovered model, and one more if its recovery did not help."""
    for key, row in rows.items():
        name = LABELS.get(key, key)
        gap = "" if row.behind_dense is None else f", {row.behind_dense:.3f} nats behind dense trained alike"
        yield (
            f"{name}, recovered: perplexity on the report text {digits(row.perplexity_before)} before, "
            f"{digits(row.perplexity_after)} after {row.tokens:,} tokens{gap}; divergence from dense "
            f"{digits(row.divergence_before)} before, {digits(row.divergence_after)} after"
        )
        if not row.helped:
            why = "this did not help" if len(row.curve) > 1 else "there is nothing to learn"
            yield f"{name}: {why}, and its weights stay as they were"


def _listed(scores: Mapping[str, float | None]) -> str:
    return ", ".join(f"{LABELS.get(name, name)} {digits(value)}" for name, value in scores.items())
