"""The training loop of a recovery."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy
import torch
from tqdm import tqdm

from evoprune.plugins import Progress
from evoprune.problems.language_model.distillation.loss import PARTS, DenseModel, loss_on
from evoprune.problems.language_model.distillation.progress import TrainingProgress, held_out_scores
from evoprune.problems.language_model.distillation.settings import RecoverSettings
from evoprune.problems.language_model.distillation.teacher import RecoveryText
from evoprune.problems.language_model.distillation.trainable_parameters import (
    RATES,
    Train,
    TrainableParameters,
    most_trainable,
    recompute_weights,
)
from evoprune.problems.language_model.models.blocks import find_blocks
from evoprune.problems.language_model.models.device import pick_dtype
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.load import convert
from evoprune.problems.language_model.models.memory import Placement
from evoprune.problems.language_model.models.tensor_file import Tensors, read_tensors, replace_file
from evoprune.problems.language_model.results.final_model import QuantisedModel
from evoprune.problems.language_model.results.recovery import CHECKPOINT, seconds_of
from evoprune.problems.language_model.results.result import DIVERGENCE
from evoprune.problems.language_model.transforms.form import Encoded

_LONGEST_GRADIENT = 1.0  # gradients are clipped to this norm
_MOMENTS = ("exp_avg", "exp_avg_sq")
_RATE_OF_LOSS = 0.003  # learning rate of scales, per nat a token of held-out divergence
_LONG_STEP = 1.0  # seconds
_SHARE = 0.2  # of free memory for activations and weights from scales; if too little, for one block's at a time
_WARM_UP = 0.05  # share of the steps


class Training:
    """Trains the ``student`` in float32, with checkpoints in ``folder``; ``sparse``: its zeros stay zero.

    A step depends on the seed and its number alone, so that an interrupted training ends with exactly the same weights.
    With a time, each measurement plans the number of steps anew, from the speed since the last one.
    """

    def __init__(
        self, student: QuantisedModel, sparse: bool, teacher: DenseModel, text: RecoveryText,
        settings: RecoverSettings, folder: Path, phase: Progress,
    ) -> None:  # fmt: skip
        self._end = time.perf_counter() + seconds_of(settings.time) if settings.time else math.inf
        self._text, self._settings, self._phase = text, settings, phase
        self._device = teacher.model.device
        self._half = pick_dtype("auto", self._device) == torch.bfloat16  # products are in bfloat16 where that is fast
        self._none = torch.zeros(len(PARTS), device=self._device)  # of losses
        self._per_step = settings.step_windows * text.train.shape[1]
        model = self._model = student.model
        folder.mkdir(parents=True, exist_ok=True)
        self._last, self._best = folder / f"{CHECKPOINT}last.safetensors", folder / "best.safetensors"
        checkpoint = TrainingProgress.read(self._last)
        train = checkpoint[0].train if checkpoint else settings.train
        train = most_trainable(model, sparse, self._device) if train == "auto" else train
        self._forward, self._teacher = Forward(model), teacher
        taken = self._per_step * self._forward.activations
        self._dtype = model.dtype
        if train != "scales":  # in place of most weights come codes, which take less
            convert(model, self._device, torch.float32)
        products = torch.bfloat16 if self._half else torch.float32
        self._parameters = parameters = TrainableParameters(student, train, sparse, settings.seed, products)
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        ends = [layer.weight for layer in (embedding, head) if layer is not None and self._half]
        values = {weight: weight.data for weight in ends}  # products round them to bfloat16 anyway
        for weight in values:
            weight.data = weight.data.new_empty(0)
        convert(model, self._device, torch.float32)
        for weight, data in values.items():
            weight.data = data
        self._hook = embedding.register_forward_hook(lambda _, __, states: states.float())
        least = parameters.bytes_trained + taken // self._forward.depth  # of one block
        remedy = "give train: norms, which takes less"
        self._placement = Placement.of("training", self._device, taken, least, remedy, share=_SHARE)
        self._adam = torch.optim.AdamW(parameters.groups(), fused=True)
        if not self._placement.resident:
            _enable_gradient_checkpointing(model)
        self.progress = self._resume(*checkpoint) if checkpoint else self._start()
        self._rate = settings.rate or self._default_rate()

    @property
    def train(self) -> Train:
        return self._parameters.train

    @property
    def trained(self) -> str:
        """The trained parameters, in words."""
        return f"{self.train}, {self._parameters.count:,} parameters"

    @property
    def encoded(self) -> Mapping[str, Encoded]:
        """Quantised matrices with trained scales, by name, after :meth:`run`."""
        return self._parameters.encoded

    @property
    def tokens(self) -> int:
        """Number of tokens until the best weights."""
        return int(self.progress.curve[self.progress.best]["tokens"] or 0)

    @property
    def planned_tokens(self) -> int:
        """Number of tokens of the whole training."""
        return self.progress.steps * self._per_step

    def run(self) -> Any:
        """Train to the end; return the model in plain layers with its best weights, the untrained ones included."""
        progress, settings = self.progress, self._settings
        begun, first, losses, since = time.perf_counter(), progress.step, self._none, 0
        measured = begun
        while progress.step < progress.steps and progress.stale < settings.patience:
            start = time.perf_counter()
            rate = self._rate * lr_schedule(progress.step, progress.steps)
            losses, since = losses + self._step(progress.step, rate), since + 1
            progress.step += 1
            throughput = (progress.step - first) * self._per_step / (time.perf_counter() - begun)
            left = tqdm.format_interval((progress.steps - progress.step) * self._per_step / throughput)
            self._phase.now(
                f"step {progress.step}/{progress.steps}: loss {self._total(losses / since):.4g}, {progress.last}, "
                f"{throughput:,.0f} tokens/s, {left} left"
            )
            if is_evaluation_step(progress.step, progress.steps, len(progress.curve), settings.evaluations):
                self._evaluate(losses / since, start, (time.perf_counter() - measured) / since)
                losses, since, measured = self._none, 0, time.perf_counter()
            else:
                progress.seconds += time.perf_counter() - start
        self._load(read_tensors(self._best)[0])
        self._hook.remove()
        return self._parameters.merged(self._model, self._placement, self._dtype)

    def _evaluate(self, losses: torch.Tensor, start: float, step: float) -> None:
        """Measure the held-out windows, and write a checkpoint. ``step``: seconds per step."""
        progress, before = self.progress, time.perf_counter()
        better = progress.add(progress.step * self._per_step, losses, self._held_out())
        steps, decided = progress.steps, self._settings.schedule[len(progress.schedule) :]
        if decided:
            steps = decided[0]
        elif self._end < math.inf and progress.step < steps:
            measuring = time.perf_counter() - before
            left = max(1, 1 + self._settings.evaluations - len(progress.curve))
            steps = progress.step + self._steps_within(step, left * measuring)
        progress.schedule.append(steps)
        progress.seconds += time.perf_counter() - start
        tokens, worse = progress.curve[-1]["tokens"], "" if better else ", no better"
        self._phase.note(f"{tokens:,} tokens: loss {self._total(losses):.4g}, {progress.last}{worse}")
        if better:
            replace_file(self._best, self._weights)
        states = {name: self._adam.state[each] for name, each in self._parameters.by_name.items()}
        moments = {f"{kind}.{name}": state[kind] for name, state in states.items() for kind in _MOMENTS}
        progress.write(self._last, self._weights | moments)

    @property
    def _weights(self) -> Tensors:
        return {f"weight.{name}": parameter for name, parameter in self._parameters.by_name.items()}

    def _total(self, losses: torch.Tensor) -> float:
        return float(losses[0] + self._settings.cross_entropy_weight * losses[1])

    def _step(self, step: int, rate: float) -> torch.Tensor:
        """Train on the windows of ``step``; return the mean of each of the :data:`PARTS` ``(2,)``."""
        settings = self._settings
        for group in self._adam.param_groups:
            group["lr"] = rate * group["share"]
        windows = batch_windows(step, settings.step_windows, len(self._text.train), settings.seed)
        tokens = self._text.train[windows].to(self._device)
        with self._autocast(), recompute_weights():
            loss, parts = loss_on(tokens, self._forward, self._teacher, settings.cross_entropy_weight)
        loss.backward()
        self._parameters.keep_zeros()
        torch.nn.utils.clip_grad_norm_(list(self._parameters.by_name.values()), _LONGEST_GRADIENT)
        self._adam.step()
        self._adam.zero_grad()
        return parts

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._half)

    def _held_out(self) -> dict[str, float]:
        weight = self._settings.cross_entropy_weight
        with self._autocast():
            return held_out_scores(self._forward, self._teacher, self._text.held_out, weight)

    def _default_rate(self) -> float:
        """Return the peak learning rate: for scales, lower after a small loss, as noise would outweigh the gain."""
        highest, lost = RATES[self._parameters.train], self.progress.curve[0].get(DIVERGENCE)
        return min(highest, _RATE_OF_LOSS * lost) if self.train == "scales" and lost else highest

    def _resume(self, progress: TrainingProgress, tensors: Tensors) -> TrainingProgress:
        self._load(tensors)
        for name, parameter in self._parameters.by_name.items():
            moments = {kind: tensors[f"{kind}.{name}"].to(parameter.device) for kind in _MOMENTS}
            count = torch.tensor(float(progress.step), device=parameter.device)
            self._adam.state[parameter] = {"step": count, **moments}
        if self._end < math.inf and progress.step:  # the interruption took time
            left = self._steps_within(progress.seconds / progress.step, 0.0)
            progress.schedule[-1] = min(progress.steps, progress.step + left)
        self._phase.note(f"continued after step {progress.step}")
        return progress

    @torch.no_grad()
    def _load(self, tensors: Tensors) -> None:
        for name, parameter in self._parameters.by_name.items():
            parameter.copy_(tensors[f"weight.{name}"])

    def _start(self) -> TrainingProgress:
        """Measure the untrained model, and decide the number of steps."""
        self._phase.now("measuring the held-out windows")
        if not self._settings.cross_entropy_weight:
            with self._autocast(), torch.inference_mode():
                self._teacher.cache_targets(self._text.held_out)  # once: not part of the time of a measurement
        before = time.perf_counter()
        scores = self._held_out()
        measuring = time.perf_counter() - before
        steps = self._planned(measuring)
        replace_file(self._best, self._weights)
        progress = TrainingProgress(self.train, [steps])
        progress.add(0, None, scores)
        self._phase.note(f"{self.trained}, {steps * self._per_step:,} tokens in {steps} steps; {progress.last}")
        return progress

    def _planned(self, measuring: float) -> int:
        """Return the number of steps; ``measuring``: seconds of a measurement."""
        settings = self._settings
        if settings.schedule:
            return settings.schedule[0]
        if self._end == math.inf:
            return math.ceil((settings.tokens if settings.tokens is not None else 200_000) / self._per_step)
        self._phase.now("measuring the speed")
        for _ in range(2):  # the first also compiles kernels, which hardly matters if it is long
            start = time.perf_counter()
            self._total(self._step(0, rate=0.0))  # changes no weight; reading the loss waits for the device
            if (step := time.perf_counter() - start) > _LONG_STEP:
                break
        self._adam.state.clear()
        return max(1, self._steps_within(step, settings.evaluations * measuring))

    def _steps_within(self, step: float, other: float) -> int:
        """Return how many steps of ``step`` seconds fit into the time left, less ``other`` seconds."""
        return max(0, int((self._end - time.perf_counter() - other) / step))


def lr_schedule(step: int, steps: int) -> float:
    """Return the learning rate of ``step``, from 0 on, as a share of the peak: a linear warm-up, then a cosine decay.

    It is above 0 in each step, and would be 0 in the one after the last.
    """
    rise = max(1, round(_WARM_UP * steps))
    if step < rise:
        return (step + 1) / (rise + 1)
    return (1 + math.cos(math.pi * (step - rise + 1) / (steps - rise + 1))) / 2


def batch_windows(step: int, batch: int, available: int, seed: int) -> list[int]:
    """Return the indices of the windows of ``step``, from 0 on: ``batch`` of ``available``, each once an epoch.

    ``seed`` decides the order in each epoch.
    """
    counts = (divmod(count, available) for count in range(step * batch, (step + 1) * batch))
    return [int(_order(seed, epoch, available)[place]) for epoch, place in counts]


@lru_cache(maxsize=2)  # a step may end one epoch and begin the next
def _order(seed: int, epoch: int, available: int) -> numpy.ndarray:
    return numpy.random.default_rng([seed, epoch]).permutation(available)


def is_evaluation_step(step: int, steps: int, measured: int, evaluations: int) -> bool:
    """Return True if held-out windows are measured after ``step``: evenly spread, and after the last of ``steps``.

    ``measured``: number of earlier measurements, that before the first step included; ``steps`` may have changed since.
    """
    return step == steps or step * evaluations >= steps * measured


def _enable_gradient_checkpointing(model: Any) -> None:
    """Use gradient checkpointing, where the model allows it: the backward pass computes the activations again."""
    with suppress(ValueError):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        blocks: Iterable[Any] = find_blocks(model)[1]
        for block in blocks:
            block.training = True  # of this module alone: checkpointing needs it
            if isinstance(getattr(block, "dropout", None), float):
                block.dropout = 0.0
