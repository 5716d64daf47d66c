"""Measure a model, as far as plans depend on it."""

import math
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from evoprune import InputError
from evoprune.problems.language_model.calibration.tensor_cache import cached
from evoprune.problems.language_model.distillation.trainable_parameters import room_to_train
from evoprune.problems.language_model.evaluation.cost_estimate import Pace, mean_inputs, pace
from evoprune.problems.language_model.gguf.sources import BLOCKS
from evoprune.problems.language_model.models.blocks import in_features, positions_of
from evoprune.problems.language_model.models.load import stored_kinds
from evoprune.problems.language_model.models.memory import Room
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.weight_files import stored_tensors
from evoprune.problems.language_model.planning.recipe import Subject
from evoprune.problems.language_model.texts.windows import Windows
from evoprune.problems.language_model.transforms.experts.transform import Experts
from evoprune.problems.language_model.transforms.gguf_types.matrices import typed_matrices
from evoprune.problems.language_model.transforms.widths.cuts import Heads


def measure_subject(
    resident: Resident, windows: Windows, loading: float, differentiated: bool, one_file: bool, base: str | None = None,
    form: str = BLOCKS, least: float = 0.0,
) -> Subject:  # fmt: skip
    """Measure ``resident`` on ``windows``; its pace is cached, so that a command that is repeated goes on.

    ``differentiated``: whether with gradients.
    """
    matrices, found = resident.matrices, _pace(resident, windows, differentiated)
    widths: Counter[int] = Counter()
    for matrix in typed_matrices(resident) if one_file else ():
        widths[matrix.rows(matrix.weight).shape[1]] += matrix.size
    return Subject(
        blocks=1 + matrices[-1].block,
        kinds=len({matrix.kind for matrix in matrices}),
        width=_width(resident),
        heads=_has_heads(resident),
        experts=_experts(resident),
        inputs=mean_inputs(resident),
        weight_size=_weight_size(resident),
        prunable=resident.prunable_weights,
        scored=found.scored,
        gradients=found.gradients,
        loading=loading,
        positions=longest(resident.model.config),
        widths=widths,
        kinds_of_source=sorted(stored_kinds(resident.source)),
        by_kind=_by_kind(resident.source) if one_file else {},
        one_file=one_file,
        form=form,
        least=least,
        roomy=room_to_train(resident.parameters, resident.device),
        threads=torch.get_num_threads(),
        base=base,
        trainable=True,
    )


def _weight_size(resident: Resident) -> float:
    """The root mean square of the weights in the matrices of the middle block."""
    matrices = resident.with_stacks
    own = [matrix for matrix in matrices if matrix.block == matrices[len(matrices) // 2].block]
    squares = sum(float(matrix.weight.float().square().sum()) for matrix in own)
    return math.sqrt(squares / sum(matrix.size for matrix in own))


def _by_kind(source: str) -> dict[str, Counter[int]]:
    """The numbers of weights in matrices of the .gguf file ``source``, by type and length of rows."""
    found: dict[str, Counter[int]] = {}
    for each in stored_tensors(Path(source)).values() if source.endswith(".gguf") else ():
        if len(each.shape) > 1:
            found.setdefault(each.kind, Counter())[each.shape[-1]] += each.size
    return found


def longest(config: Any) -> int:
    """Return the most tokens that a model of ``config`` reads at once, 2,048 if it has no limit."""
    return positions_of(config) or 2048


def _pace(resident: Resident, windows: Windows, differentiated: bool) -> Pace:
    device, taken = resident.device, 8 * resident.prunable_weights
    room = differentiated and (device.type != "cpu" or Room.of("gradients", device, taken, share=1).resident)

    def measure() -> dict[str, torch.Tensor]:
        found = pace(resident, windows.tokens, room)
        return {"pace": torch.tensor([found.scored, found.gradients or 0.0])}

    what = [windows.sha256, room, torch.get_num_threads()]
    scored, gradients = cached(resident, "seconds for each token", what, measure)["pace"].tolist()
    return Pace(scored, gradients or None)


def _has_heads(resident: Resident) -> bool:
    with suppress(InputError):
        Heads(resident, Heads.Settings(), None)
        return True
    return False


def _experts(resident: Resident) -> int:
    with suppress(InputError):
        return max(int(gene.up) for gene in Experts(resident, Experts.Settings(), None).genes)
    return 0


def _width(resident: Resident) -> int | None:
    with suppress(InputError, IndexError):  # experts are no layers
        return next(in_features(sublayer.layers[-1]) for sublayer in resident.sublayers if sublayer.kind == "mlp")
    return None
