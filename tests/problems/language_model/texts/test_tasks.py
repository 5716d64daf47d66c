"""Task files: only answers count, whatever the lines around them, everywhere that a text is scored."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from evoprune import InputError
from evoprune.problems.language_model.calibration import gradients
from evoprune.problems.language_model.distillation.loss import DenseModel, ExactDivergence, divergence, loss_on
from evoprune.problems.language_model.evaluation.answers import accuracy
from evoprune.problems.language_model.evaluation.measure import Divergence, Measure, Perplexity
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.models.forward import Forward, ids
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.tasks import is_task, read_records
from evoprune.problems.language_model.texts.text_splits import share_in_common
from evoprune.problems.language_model.texts.windows import cut_windows, held_out_windows, unused_windows
from tests.problems.language_model.small import VOCABULARY, random_model, save

CHAT = (
    "{{ bos_token ~ ' ' if bos_token else '' }}"
    "{% for m in messages %}{{ 'w1 ' if m.role == 'user' else 'w2 ' }}{{ m.content }}{{ ' w3 ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'w2 ' }}{% endif %}"
)


def words(*numbers):
    return " ".join(f"w{number}" for number in numbers)


def drawn(count, draw):
    return words(*torch.randint(4, VOCABULARY - 1, (count,), generator=draw).tolist())


@pytest.fixture(scope="module")
def model():
    return random_model("llama")


@pytest.fixture(scope="module", params=[False, True])
def tokenizer(request, model, tmp_path_factory):
    """Puts a token before each text, or not."""
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(save(model, tmp_path_factory.mktemp("model"), request.param))
    found.chat_template = CHAT
    return found


KINDS = {
    "answer": lambda draw, n: {"prompt": drawn(3 + n, draw) + " ", "answer": drawn(2 + n % 3, draw)},
    "choices": lambda draw, n: {
        "prompt": drawn(3 + n, draw),
        "choices": [" " + drawn(2, draw), " " + drawn(3, draw)],
        "answer": n % 2,
    },
    "messages": lambda draw, n: {
        "messages": [{"role": role, "content": drawn(2 + n, draw)} for role in ("user", "assistant") * 2]
    },
}


@pytest.fixture(params=KINDS)
def lines(request):
    draw = torch.Generator().manual_seed(1)
    return [KINDS[request.param](draw, n) for n in range(7)]


@pytest.fixture
def task(tmp_path):
    """Writes lines to a file; returns the settings that read it."""

    def write(lines, **settings):
        path = tmp_path / "task.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return TextSettings(**{"source": str(path), "window": 48, "windows": None} | settings)

    return write


def answers(line):
    """The words of a line, each with whether it counts, by the definition of its kind."""
    if "messages" in line:
        told = []
        for message in line["messages"]:
            own = message["role"] == "assistant"
            told += [("w2" if own else "w1", False), *((word, own) for word in message["content"].split()), ("w3", own)]
        return told
    answer = line["choices"][line["answer"]] if "choices" in line else line["answer"]
    return [(word, False) for word in line["prompt"].split()] + [(word, True) for word in answer.split()]


def slow_losses(model, tokenizer, line):
    """The loss of each answer's token, of a line that the model reads alone."""
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    told = [*((token, False) for token in begin), *((int(word[1:]), counts) for word, counts in answers(line))]
    tokens, counts = (torch.tensor(each) for each in zip(*told, strict=True))
    logits = model(tokens[None]).logits[0, :-1].float()
    return cross_entropy(logits, tokens[1:], reduction="none")[counts[1:].bool()]


@torch.no_grad()
def test_the_score_is_the_mean_loss_of_the_answers_each_line_read_alone(model, tokenizer, lines, task):
    windows = cut_windows(task(lines), tokenizer, "search_text")
    slow = torch.cat([slow_losses(model, tokenizer, line) for line in lines])
    found = Measure(Forward(model), 96).value(windows.tokens, Perplexity())
    assert found == pytest.approx(float(slow.mean().exp()), rel=1e-5)
    assert windows.predictions == len(slow)
    spelt = sum(len(word) for line in lines for word, counts in answers(line) if counts)
    assert spelt <= windows.predicted_bytes(tokenizer) <= spelt + len(slow)  # and the blanks between words


@torch.no_grad()
def test_the_lines_around_a_line_do_not_change_its_score(model, tokenizer, lines, task):
    measure = Measure(Forward(model), None)

    def losses(given):
        windows = cut_windows(task(given), tokenizer, "search_text")
        rows = windows.tokens.split(1)
        return {line.text: measure.total(row, Perplexity().add) for line, row in zip(windows.lines, rows, strict=True)}

    whole, some = losses(lines), losses(lines[2:5])
    assert len(some) == 3
    assert all(loss == pytest.approx(whole[text], rel=1e-6) for text, loss in some.items())


@torch.no_grad()
def test_the_divergence_of_search_and_of_training_are_those_of_the_answers(model, tokenizer, lines, task):
    tokens, other = cut_windows(task(lines), tokenizer, "search_text").tokens, random_model("llama", seed=5)
    counted = tokens[:, 1:] >= 0
    log_p, log_q = (each(ids(tokens)).logits[:, :-1][counted].log_softmax(-1) for each in (model, other))
    slow = float((log_p.exp() * (log_p - log_q)).sum(-1).mean())
    objective = Divergence(int(counted.sum()), VOCABULARY)
    Measure(Forward(model), 96).total(tokens, objective.store)
    assert Measure(Forward(other), 48).value(tokens, objective) == pytest.approx(slow, rel=1e-4)
    dense = DenseModel(model)
    assert divergence(Forward(other), tokens, ExactDivergence(dense, tokens))[0] == pytest.approx(slow, rel=1e-4)
    loss, _ = loss_on(tokens, Forward(other), dense, 0.0)
    assert float(loss) == pytest.approx(slow, rel=1e-4)


def test_gradients_are_those_of_the_answers(model, tokenizer, lines, task):
    tokens, matrices = cut_windows(task(lines), tokenizer, "search_text").tokens[:1], find_matrices(model)[:1]
    found = gradients.gradient_squares(model, tokens, matrices)[matrices[0].name]
    weight = matrices[0].weight.requires_grad_()
    logits = model(ids(tokens)).logits[0, :-1][tokens[0, 1:] >= 0]
    (slow,) = torch.autograd.grad(cross_entropy(logits, tokens[0, 1:][tokens[0, 1:] >= 0]), weight)
    weight.requires_grad_(False)
    torch.testing.assert_close(found, slow.square())


@torch.no_grad()
def test_the_accuracy_is_that_of_lines_read_one_by_one(model, tokenizer, lines, task):
    def greedy(prompt):
        begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        tokens = begin + [int(word[1:]) for word in prompt.split()]
        return f" w{int(model(torch.tensor([tokens])).logits[0, -1].argmax())}"

    def right(line):
        if "choices" not in line:
            told = [*answers(line)]
            at = [place for place, (_, counts) in enumerate(told) if counts]
            return all(greedy(" ".join(word for word, _ in told[:place])).strip() == told[place][0] for place in at)
        scores = [
            -float(slow_losses(model, tokenizer, line | {"answer": at}).sum()) / len(choice)
            for at, choice in enumerate(line["choices"])
        ]
        return scores.index(max(scores)) == line["answer"]

    if "answer" in lines[0] and "choices" not in lines[0]:
        lines[::2] = [{"prompt": line["prompt"].strip(), "answer": greedy(line["prompt"])} for line in lines[::2]]
    expected = [right(line) for line in lines]
    windows = cut_windows(task(lines), tokenizer, "report_text")
    assert accuracy(windows, tokenizer, Measure(Forward(model), 96)) == sum(expected) / len(expected)
    assert any(expected) or "messages" in lines[0]
    assert not all(expected)


def test_the_parts_of_a_file_and_held_out_lines_are_disjoint(tokenizer, task):
    lines = [{"prompt": words(5, n), "answer": " w6"} for n in range(20, 40)]
    parts = [
        cut_windows(task(lines + lines[:5], part=part), tokenizer, "search_text") for part in ((0, 0.4), (0.4, 1.0))
    ]
    assert {line.text for part in parts for line in part.lines} == {f"{line['prompt']} w6" for line in lines}
    assert [len(part.lines) for part in parts] == [8, 12]
    assert not share_in_common(*parts)
    few = cut_windows(task(lines, windows=3), tokenizer, "search_text")
    held_out = held_out_windows(few, [], 4, tokenizer)
    assert len(held_out.lines) == 4
    assert not {*held_out.lines} & {*few.lines}
    assert share_in_common(few, cut_windows(task(lines), tokenizer, "search_text")) == 1
    free = unused_windows(task(lines, window=96), [few], tokenizer, "search_text").lines
    assert sorted(line.number for line in (*free, *few.lines)) == [*range(1, 21)]


def test_a_file_with_a_column_of_text_stays_plain_text(tokenizer, task):
    lines = [{"text": words(1, 2, 3), "prompt": words(1), "answer": " w2"}] * 2
    windows = cut_windows(task(lines, window=4 if tokenizer.bos_token_id else 3), tokenizer, "search_text")
    assert not windows.lines
    assert (windows.tokens >= 0).all()


@pytest.mark.parametrize(
    ("second", "key"),
    [
        ({"prompt": "w1", "answer": ""}, "answer"),
        ({"prompt": "w1"}, "answer"),
        ({"prompt": 3, "answer": "w1"}, "prompt"),
        ({"prompt": "w1 \ud800", "answer": "w1"}, "ud800"),
        ({"prompt": "w1", "choices": ["w1", "w2"], "answer": "w1"}, "choices"),
        ({"messages": [{"role": "user", "content": "w1"}]}, "messages"),
        ([], "object"),
    ],
)
def test_a_faulty_line_is_named(task, second, key):
    settings = task([{"prompt": "w1", "answer": "w2"}, second])
    with pytest.raises(InputError, match=rf"task\.jsonl: line 2.*{key}"):
        read_records(Path(settings.source))


def test_a_mark_of_utf_8_before_the_first_line_is_no_part_of_it(task):
    settings = task([{"prompt": "w1", "answer": "w2"}])
    path = Path(settings.source)
    plain = read_records(path)
    path.write_text(path.read_text(), "utf-8-sig")
    assert is_task(settings)
    assert read_records(path) == plain


@pytest.mark.parametrize("answer", ["w9", 2, -1, True, None])
def test_an_answer_is_one_of_the_choices(task, answer):
    with pytest.raises(InputError, match=r"line 1: answer"):
        read_records(Path(task([{"prompt": "w1", "choices": ["w1", "w2"], "answer": answer}]).source))


def test_lines_that_do_not_fit_the_window_the_number_or_the_tokenizer_are_refused(tokenizer, task):
    lines = [{"prompt": words(*range(10, 30)), "answer": " w2"}]
    with pytest.raises(InputError, match=r"line 1 has 21 tokens"):
        cut_windows(task(lines, window=20), tokenizer, "search_text")
    with pytest.raises(InputError, match=r"1 different lines.*expected 4"):
        cut_windows(task(lines, windows=4), tokenizer, "search_text")
    tokenizer.chat_template = None
    with pytest.raises(InputError, match=r"line 1: messages.*chat template"):
        cut_windows(task([KINDS["messages"](torch.Generator(), 1)]), tokenizer, "search_text")
    tokenizer.chat_template = CHAT
