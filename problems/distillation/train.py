"""Trains one model to predict what another predicts, with accelerate."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from evoprune import InputError, Phase
from problems.distillation import checkpoint, schedule
from problems.distillation.course import Course
from problems.distillation.held_out import measured
from problems.distillation.pace import Pace
from problems.distillation.settings import RecoverSettings, seconds_of
from problems.distillation.student import PARTS, Student
from problems.distillation.text import RecoveryText
from problems.distillation.trained import RATES, Given, Trained, fitting
from problems.models.attention import use_fast_attention
from problems.models.blocks import find_blocks
from problems.models.device import pick_dtype
from problems.models.forward import Forward
from problems.models.tensor_file import Tensors

_LONGEST_GRADIENT = 1.0
"""Longer ones are shortened to this norm."""

DEFAULT_TOKENS = 200_000

_MOMENTS = ("exp_avg", "exp_avg_sq")


class Training:
    """Trains the model that is ``given``, in float32, with its state in ``checkpoints``. ``teacher`` stays as it is.

    Steps read what :mod:`problems.distillation.schedule` says, so that one that was interrupted ends with
    exactly the same weights. Raises :class:`evoprune.InputError`.
    """

    def __init__(
        self,
        given: Given,
        teacher: Any,
        text: RecoveryText,
        settings: RecoverSettings,
        checkpoints: checkpoint.Checkpoints,
        phase: Phase,
    ) -> None:
        self.accelerator = accelerator(teacher.device, settings.accumulate)
        self._text, self._settings, self._phase = text, settings, phase
        self._device = self.accelerator.device
        self._per_step = settings.batch * text.train.shape[1]
        if settings.batch % (settings.accumulate * self.accelerator.num_processes):
            raise InputError("expected a multiple of accumulate times the number of processes", "batch")
        model = self._model = given.model
        forward = Forward(model)
        self._plan = checkpoints.planned() or {}
        train = self._plan.get("train", settings.train)
        train = self._agreed(fitting(given, self._device) if train == "auto" else train)
        self._trained = Trained(given, train, settings.seed)
        parameters = list(self._trained.parameters.values())
        fused = self._device.type in {"cpu", "cuda"}
        self._adam = torch.optim.AdamW(parameters, fused=fused)
        self._rate = settings.rate or RATES[self._trained.train]
        use_fast_attention(model, torch.bfloat16 if self.accelerator.mixed_precision == "bf16" else model.dtype)
        if settings.checkpointing:
            _keep_no_activations(model)
        self._forward, self._teacher = forward, Forward(teacher.to(self._device))
        student = Student(model, forward, self._teacher, settings.cross_entropy, settings.hidden)
        self._student, self._optimizer = self.accelerator.prepare(student, self._adam)
        self._checkpoints = checkpoints
        self.course = self._read()

    @property
    def train(self) -> str:
        """What is trained."""
        return self._trained.train

    @property
    def trained_parameters(self) -> int:
        """How many parameters are trained."""
        return sum(parameter.numel() for parameter in self._trained.parameters.values())

    @property
    def _weights(self) -> Tensors:
        return {f"weight.{name}": parameter for name, parameter in self._trained.parameters.items()}

    @property
    def tokens(self) -> int:
        """How many tokens the best weights have seen."""
        return int(self.course.curve[self.course.best]["tokens"] or 0)

    @property
    def planned_tokens(self) -> int:
        """How many tokens it trains on to the end."""
        return self.course.steps * self._per_step

    def run(self) -> Any:
        """Train to the end; the model with its best weights, as it was given if nothing helped."""
        self.train_on()
        self.accelerator.wait_for_everyone()
        self._load(self._checkpoints.best())
        return self.merged()

    def merged(self) -> Any:
        """The model as plain layers, with the weights that it has now; nothing can be trained afterwards."""
        return self._trained.merged(self._model)

    def train_on(self) -> None:
        """Train to the end; the weights are the last ones afterwards."""
        course, settings = self.course, self._settings
        pace, losses, since = Pace(), torch.zeros(PARTS, device=self._device), 0
        due = schedule.evaluated(course.steps, settings.evaluations)
        while course.step < course.steps and course.stale < settings.patience:
            start = time.perf_counter()
            rate = self._rate * schedule.share(course.step, course.steps)
            losses, since = losses + self._step(course.step, rate), since + 1
            course.step += 1
            pace.add(self._per_step)
            left = (course.steps - course.step) * self._per_step
            self._phase.now(
                f"step {course.step}/{course.steps}: loss {self._total(losses / since):.4g}, {course.last}, "
                f"{pace.words(left)}"
            )
            if course.step in due:
                self._judge(losses / since, start)
                losses, since = torch.zeros_like(losses), 0
            else:
                course.seconds += time.perf_counter() - start

    def _judge(self, losses: torch.Tensor, start: float) -> None:
        """Measure the held-out windows, and keep what is needed to go on from here."""
        course = self.course
        better = course.add(course.step * self._per_step, losses, self._held_out())
        course.seconds += time.perf_counter() - start
        self._phase.note(
            f"{course.curve[-1]['tokens']:,} tokens: loss {self._total(losses):.4g}, {course.last}"
            f"{'' if better else ', no better'}"
        )
        if self.accelerator.is_main_process:
            if better:
                self._checkpoints.write_best(self._weights)
            moments = {
                f"{kind}.{name}": self._adam.state[each][kind]
                for name, each in self._trained.parameters.items()
                for kind in _MOMENTS
            }
            self._checkpoints.write(course.step, vars(course), self._weights | moments)

    def _total(self, losses: torch.Tensor) -> float:
        settings = self._settings
        return float(losses[0] + settings.cross_entropy * losses[1] + settings.hidden * losses[2])

    def _step(self, step: int, rate: float) -> torch.Tensor:
        """Train on the windows of ``step``; the mean losses ``(3,)`` of this process's."""
        for group in self._adam.param_groups:
            group["lr"] = rate
        losses = torch.zeros(PARTS, device=self._device)
        for parts in self._passes(step):
            if self.accelerator.sync_gradients:
                self._trained.keep_zeros()
                self.accelerator.clip_grad_norm_(list(self._trained.parameters.values()), _LONGEST_GRADIENT)
            self._optimizer.step()
            self._optimizer.zero_grad()
            losses += parts / self._settings.accumulate
        return losses

    def _passes(self, step: int) -> Iterator[torch.Tensor]:
        """Add the gradients of ``step``, and yield the losses of each pass."""
        settings, number = self._settings, self.accelerator.num_processes
        places = schedule.places(step, settings.batch, len(self._text.train), settings.seed)
        own = self._text.train[places[self.accelerator.process_index :: number]]
        for windows in own.chunk(settings.accumulate):
            with self.accelerator.accumulate(self._student):
                loss, parts = self._student(windows.to(self._device))
                self.accelerator.backward(loss)
                yield parts.detach()

    def _held_out(self) -> dict[str, float]:
        with self.accelerator.autocast():
            found = measured(self._forward, self._teacher, self._text.held_out, self._settings.cross_entropy)
        return self._agreed(found)  # type: ignore[no-any-return]

    def _read(self) -> Course:
        """Where the checkpoint ends, or a start."""
        found = self._checkpoints.read()
        if found is None:
            return self._start()
        state, tensors = found
        self._load(tensors)
        for name, parameter in self._trained.parameters.items():
            moments = {kind: tensors[f"{kind}.{name}"].to(parameter.device) for kind in _MOMENTS}
            count = torch.tensor(float(state["step"]), device=parameter.device)
            self._adam.state[parameter] = {"step": count, **moments}
        self._phase.note(f"continued after step {state['step']}")
        return Course(**state)

    @torch.no_grad()
    def _load(self, tensors: Tensors) -> None:
        for name, parameter in self._trained.parameters.items():
            parameter.copy_(tensors[f"weight.{name}"])

    def _start(self) -> Course:
        """Measure the model as it is, and decide the number of steps, which a time is turned into once."""
        before = time.perf_counter()
        self._phase.now("measuring the held-out windows")
        found = self._held_out()
        measuring = time.perf_counter() - before
        steps = self._agreed(self._plan.get("steps") or self._planned(measuring))
        if self.accelerator.is_main_process:
            self._checkpoints.plan(steps, self.train)
            self._checkpoints.write_best(self._weights)
        course = Course(steps)
        course.add(0, None, found)
        self._phase.note(
            f"{self.train}: {self.trained_parameters:,} parameters, {steps * self._per_step:,} tokens in {steps} "
            f"steps; {course.last}"
        )
        return course

    def _agreed(self, found: Any) -> Any:
        """What the first process found: each has a speed, free memory and last digits of its own."""
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([found])[0]

    def _planned(self, measuring: float) -> int:
        """The number of steps; ``measuring``: the seconds that one measurement takes."""
        settings = self._settings
        if settings.time is None:
            tokens = DEFAULT_TOKENS if settings.tokens is None else settings.tokens
            return math.ceil(tokens / self._per_step)
        seconds = seconds_of(settings.time)
        self._phase.now("measuring the speed")
        for _ in range(2):  # the first one also prepares kernels
            start = time.perf_counter()
            self._total(self._step(0, rate=0.0))  # which changes no weight; reading the loss waits for the device
            step = time.perf_counter() - start
        self._adam.state.clear()
        return max(1, int((seconds - 2 * step - measuring * (1 + settings.evaluations)) / step))


def accelerator(device: torch.device, accumulate: int = 1) -> Any:
    """An ``Accelerator`` on ``device``, which computes in bfloat16 where that is fast.

    Raises :class:`evoprune.InputError` where accelerate is missing.
    """
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise InputError(f"recovering needs accelerate; pip install 'evoprune[recover]' ({error})") from None
    if device.type == "cuda" and device.index is not None and "LOCAL_RANK" not in os.environ:
        torch.cuda.set_device(device)
    fast = pick_dtype("auto", device) == torch.bfloat16
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="bf16" if fast else "no",
        gradient_accumulation_steps=accumulate,
    )


def _keep_no_activations(model: Any) -> None:
    """Compute the activations of each block again in the backward pass; nothing is dropped out.

    Raises :class:`evoprune.InputError` where the model's class does not support it.
    """
    try:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    except ValueError as error:
        raise InputError(f"not possible with this model: {error}", "checkpointing") from None
    blocks: Iterable[Any] = find_blocks(model)[1]
    for block in blocks:
        block.training = True  # of this module alone: only then does it forget them
        if isinstance(getattr(block, "dropout", None), float):
            block.dropout = 0.0
