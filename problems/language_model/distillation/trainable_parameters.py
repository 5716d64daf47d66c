"""The trainable parameters of a recovery: weights but embeddings, head and zeros, or scales of quantised matrices."""

from __future__ import annotations

from collections.abc import Callable, Collection, MutableMapping
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization, remove_parametrizations
from torch.utils.weak import WeakIdKeyDictionary

from evoprune import InputError
from evoprune.problems.language_model.models.blocks import Matrix, find_blocks, find_matrices, find_mixtures, prunable
from evoprune.problems.language_model.models.memory import TRAINING_BYTES, Placement, can_train
from evoprune.problems.language_model.results.final_model import QuantisedModel
from evoprune.problems.language_model.transforms.form import Encoded

Train = Literal["all", "lora", "norms", "scales"]

RATES: dict[Train, float] = {"all": 3e-4, "lora": 1e-3, "norms": 1e-3, "scales": 1e-3}  # highest learning rates

_RANK = 16  # of the updates that LoRA adds (Hu et al., 2022); their scale is 2
_RUN = 16  # consecutive weights that share the code of their minimum, in every type


class TrainableParameters:
    """The parameters of the ``student``, in float32, that are trained; all others, and all codes, are frozen.

    ``norms`` are norms, biases and routers, and in a quantised model the matrices that are not quantised, but no
    embedding, head or expert; ``scales`` are the same, and the scales of quantised matrices in the blocks. ``sparse``:
    zeros stay zero, since weights were pruned; a source in a few bits has other zeros. ``seed``: of the first low-rank
    updates; ``products``: the dtype that weights made from scales are multiplied in.
    """

    def __init__(
        self, student: QuantisedModel, train: Train, sparse: bool = False, seed: int = 0,
        products: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        model, encoded = student
        self.train = train
        self.encoded: dict[str, Encoded] = {}
        """Quantised matrices of the blocks, by name, if scales are trained."""
        masked = [each for each in find_matrices(model) if not each.weight.all()] if sparse else []
        self._nonzero = {each.module: each.weight != 0 for each in masked}
        model.requires_grad_(False)
        self._adapted = None
        if train == "lora":
            refuse_lora(sparse)
            self._adapted = _adapt(model, seed)
        for parameter in _candidates(model, train, encoded):
            parameter.requires_grad_(True)
        self._scaled: dict[str, Matrix] = {}
        if train == "scales":
            within = {matrix.parameter: matrix for matrix in find_matrices(model)}
            self.encoded = {name: encoded[name] for name in within.keys() & encoded.keys()}
            for name, matrix in self.encoded.items():
                if matrix.has_scales:
                    self._scaled[name] = within[name]
                    parametrise_scales(within[name], matrix, products)
        self.by_name: dict[str, nn.Parameter] = {
            name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
        }
        """In the order of the model."""
        self.count = sum(parameter.numel() for parameter in self.by_name.values())
        """Number of trained values."""
        self.bytes_trained = (TRAINING_BYTES - 4) * self.count
        """Bytes of gradients and moments."""
        if not self.by_name:
            raise InputError(f"{train}: the model has none of these that can be trained; use all or lora", "train")

    def groups(self) -> list[dict[str, Any]]:
        """Return groups for an optimiser, each with its ``share`` of the learning rate.

        Except for scales, which change by a relative amount, the share of a parameter is its root mean square (as in
        Adafactor, Shazeer and Stern, 2018): norms of 0.03 would otherwise change far more than scales.
        """
        if self.train != "scales":
            return [{"params": list(self.by_name.values()), "share": 1.0}]
        return [
            {"params": [each], "share": 1.0 if is_scale_change(name) else float(each.detach().square().mean().sqrt())}
            for name, each in self.by_name.items()
        ]

    def keep_zeros(self) -> None:
        """Set the gradients of zeros to zero, so that AdamW keeps the zeros and their moments."""
        for module, mask in self._nonzero.items():
            weight: Any = module.weight
            if weight.grad is not None:
                weight.grad.mul_(mask.to(weight.device))

    def merged(self, model: Any, placement: Placement, dtype: torch.dtype) -> Any:
        """Return ``model`` with trained weights in plain layers, allocated in ``placement``; it ends the training."""
        for name, matrix in self._scaled.items():
            self.encoded[name] = merge_scales(matrix, placement, dtype)
        return model if self._adapted is None else self._adapted.merge_and_unload()


def refuse_lora(sparse: bool) -> None:
    """Raise :class:`evoprune.InputError` for low-rank updates of a pruned model, or without peft."""
    if sparse:
        raise InputError("low-rank updates would fill the zeros of the pruned weights; use all or norms", "train")
    if find_spec("peft") is None:
        raise InputError("lora needs peft; pip install 'evoprune[recover]'", "train")


def most_trainable(model: Any, sparse: bool, device: torch.device) -> Train:
    """Return the most that can be trained with the free memory of ``device``."""
    if can_train(sum(parameter.numel() for parameter in _candidates(model, "all")), device):
        return "all"
    return "norms" if sparse else "lora"


def _adapt(model: Any, seed: int) -> Any:
    from peft import LoraConfig, get_peft_model

    name, blocks = find_blocks(model)
    layers = [f"{name}.{layer}" for layer, _ in prunable(blocks)]
    config = LoraConfig(r=_RANK, lora_alpha=2 * _RANK, target_modules=layers, bias="none")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def _candidates(model: Any, train: Train, encoded: Collection[str] = ()) -> list[nn.Parameter]:
    if train == "lora":
        return [each for name, each in model.named_parameters() if ".lora_" in name]
    ends: list[nn.Module] = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    ends += filter(None, [model.get_output_embeddings()])
    frozen = {id(each) for layer in ends for each in layer.parameters()}
    routers = {id(each) for mixture in find_mixtures(model) for each in mixture.router.parameters()}

    def is_small(each: nn.Parameter) -> bool:  # stacked experts are most of a mixture
        return each.dim() == 1 or id(each) in routers or (bool(encoded) and each.dim() == 2)

    return [
        each
        for name, each in model.named_parameters()
        if id(each) not in frozen and name not in encoded and (train == "all" or is_small(each))
    ]


class BlockScales(nn.Module):
    """A parametrisation of PyTorch: computes the weight of a quantised matrix from the scales of the blocks.

    The trained parameter ``(fields, rows, blocks)`` is the relative change of each field, 0 at first: a field is
    ``before x (1 + change)``, rounded to float16, as it is stored. The gradient passes the rounding unchanged (a
    straight-through estimator, Bengio et al., 2013).
    """

    _before: torch.Tensor
    _units: torch.Tensor

    def __init__(self, matrix: Matrix, encoded: Encoded, products: torch.dtype) -> None:
        super().__init__()
        self._encoded, self._transposed, self._products = encoded, matrix.transposed, products
        self.shape = matrix.weight.shape
        fields = encoded.codes(matrix.rows(matrix.weight).shape[1])
        self.register_buffer("_before", torch.from_numpy(encoded.scales), persistent=False)
        for number, (codes, _) in enumerate(fields):
            runs = torch.from_numpy(codes).unflatten(1, (self._before.shape[-1], -1, _RUN))
            alike = bool((runs == runs[..., :1]).all())
            self.register_buffer(f"_codes_{number}", runs[..., :1].clone() if alike else runs, persistent=False)
        units = torch.tensor([unit for _, unit in fields])
        self.register_buffer("_units", units[:, None, None], persistent=False)

    def forward(self, change: torch.Tensor) -> torch.Tensor:
        """Return the weight as the layer stores it, in the dtype of products, which takes less memory."""
        rows = self._rows(change)
        if torch.is_grad_enabled():
            _makers[_base_of(rows)] = partial(self._rows, change.detach())
        return rows.T if self._transposed else rows

    def _rows(self, change: torch.Tensor) -> torch.Tensor:
        scales = self._scales(change)
        stored = scales + (scales.half().float() - scales).detach()
        codes = (getattr(self, f"_codes_{number}") for number in range(len(self._units)))
        return _Values.apply(stored / self._units, self._products, *codes)  # type: ignore[no-any-return]

    def right_inverse(self, _: torch.Tensor) -> torch.Tensor:
        """Return no change: the weight is that of the codes."""
        return torch.zeros_like(self._before)

    def encoded(self, change: torch.Tensor) -> Encoded:
        """Return the matrix as a file stores it."""
        return self._encoded.with_scales(self._scales(change.detach()).cpu().numpy())

    def _scales(self, change: torch.Tensor) -> torch.Tensor:
        return self._before * (1 + change)


class _Values(torch.autograd.Function):
    """Codes times scales; saves codes for the backward pass, a quarter of the memory of weights."""

    @staticmethod
    def forward(ctx: Any, scales: torch.Tensor, products: torch.dtype, *codes: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(*codes)
        values, *minima = (scale[..., None, None] * code for scale, code in zip(scales, codes, strict=True))
        for each in minima:
            values = values + each
        rows: torch.Tensor = values.to(products).expand(*values.shape[:-1], _RUN).flatten(1)
        return rows

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        codes = ctx.saved_tensors
        runs = upstream.float().unflatten(1, (*codes[0].shape[1:-1], _RUN))
        gradients = [
            (runs.sum(-1, keepdim=True) * code if code.shape[-1] == 1 else runs * code).sum((-2, -1)) for code in codes
        ]
        return torch.stack(gradients), None, *(None for _ in codes)


_makers: MutableMapping[torch.Tensor, Callable[[], torch.Tensor]] = WeakIdKeyDictionary()
"""Functions that compute weights from scales."""


def _base_of(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor._base is None else tensor._base


def recompute_weights() -> torch.autograd.graph.saved_tensors_hooks:
    """Return a context in which the backward pass computes weights from scales again: they are not saved for it."""

    def pack(tensor: torch.Tensor) -> Any:
        maker = _makers.get(_base_of(tensor))
        return (maker, tensor.shape, tensor.stride()) if maker else tensor.detach()

    @torch.no_grad()
    def unpack(saved: Any) -> torch.Tensor:
        return saved if isinstance(saved, torch.Tensor) else saved[0]().as_strided(*saved[1:])

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


def parametrise_scales(matrix: Matrix, encoded: Encoded, products: torch.dtype = torch.float32) -> None:
    """Compute the weight of ``matrix``, the values of ``encoded``, from trainable float32 scales.

    ``products``: the dtype that the weight is multiplied in.
    """
    module: Any = matrix.module
    none = torch.zeros(1, device=matrix.weight.device)  # only its dtype matters, which scales take
    matrix.weight.data = none.expand(matrix.weight.shape)
    register_parametrization(
        module, "weight", BlockScales(matrix, encoded, products).to(matrix.weight.device), unsafe=True
    )
    module.parametrizations.weight.original.requires_grad_(True)


def is_scale_change(name: str) -> bool:
    """Return True if the parameter ``name`` is the relative change of scales."""
    return name.endswith(".parametrizations.weight.original")


def merge_scales(matrix: Matrix, placement: Placement, dtype: torch.dtype) -> Encoded:
    """Undo :func:`parametrise_scales`; the weight, of ``dtype``, is allocated in ``placement``. Return it encoded."""
    parametrised: Any = matrix.module
    chain = parametrised.parametrizations.weight
    encoded: Encoded = chain[0].encoded(chain.original)
    remove_parametrizations(parametrised, "weight", leave_parametrized=False)
    matrix.weight.data = placement.empty(chain[0].shape, dtype).to(matrix.weight.device)
    encoded.put_into(matrix)
    matrix.weight.requires_grad_(False)
    return encoded
