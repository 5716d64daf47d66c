"""The transform ``experts``: fewer routed experts in the mixtures of a model, with their rows of the routers."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field

from evoprune import Gene, Genes, InputError, Price, Settings
from evoprune.problems.language_model import transforms as cuts
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, code, shared
from evoprune.problems.language_model.models.experts import COUNTS, RoutedExperts, find_experts, unchosen_remarks
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.costs import ACTIVE, ATTENTION, PARAMETERS, WEIGHTS, Prices
from evoprune.problems.language_model.transforms.experts.scores import score_experts
from evoprune.problems.language_model.transforms.sublayers import protected
from evoprune.problems.language_model.transforms.transform import EXPERTS, Transform
from evoprune.problems.language_model.transforms.widths.units import has_form, set_form

_CHOSEN = "num_experts_per_tok"  # the number of experts that a token chooses, in configs of transformers


class ExpertsSettings(Settings):
    """The order of experts, and the blocks that lose none."""

    score: Literal["frequency", "output", "reap"] = Field(
        "output",
        description="ranks the experts of a block on the calibration text, the lowest are removed first: by how often "
        "they are chosen (frequency), by the error of the block's output without them (output), or by the mean of "
        "weight times norm of their output over the tokens that chose them (reap)",
    )
    genes: Literal["block", "model"] = Field(
        "block",
        description="whether each block has a gene, or one gene says how many experts stay in all of them, as .gguf "
        "files and plain transformers folders need",
    )
    top_k: bool = Field(
        False, description="whether one more gene says how many experts a token chooses, in all blocks, down to 1"
    )
    keep: tuple[int, ...] = Field(
        (), description="blocks that lose no expert, counted from 0; -1 is the last: [0, -1] is the first and the last"
    )


class Experts(Transform):
    """Leave routed experts out, the ones with the lowest scores first; at least as many stay as a token chooses.

    The router chooses among the remaining ones, and weighs them as its architecture does. Shared experts stay.
    """

    Settings = ExpertsSettings
    settings: ExpertsSettings
    units = (WEIGHTS, PARAMETERS, ATTENTION, ACTIVE)

    def __init__(self, resident: Resident, settings: ExpertsSettings, texts: Texts | None) -> None:
        super().__init__(resident, settings, texts)
        found = find_experts(resident.model, check=texts is not None, late=resident.streams)
        kept = protected(settings.keep, resident.forward.depth)
        self._experts = {each.block: each for each in found}
        free = [block for block in self._experts if block not in kept]
        if not settings.top_k and all(self._experts[block].count == self._experts[block].active for block in free):
            raise InputError("no block has experts that may be left out", "problem.transforms.keep")
        self._governed = {f"experts {block}": [block] for block in free}
        if settings.genes == "model":
            if len({(self._experts[block].count, self._experts[block].active) for block in free}) > 1:
                raise InputError("its blocks have different numbers of experts: give genes: block", "problem.model")
            self._governed = {"experts": free} if free else {}
        self._active = min(each.active for each in found)
        genes = [self._gene(name, blocks[0]) for name, blocks in self._governed.items()]
        if settings.top_k:
            if not all(each.is_told and each.active == self._active for each in found):
                raise InputError("its routers do not all name one number of experts", "problem.transforms.top_k")
            genes.append(Gene.of_levels("top_k", range(self._active, 0, -1)))
        self._genes = Genes(genes)
        self._stored = self._make_stored()
        self._levels, self._chosen = [0] * resident.forward.depth, self._active

    @classmethod
    def calibrates(cls, settings: ExpertsSettings) -> bool:  # noqa: ARG003 - every score does
        return True

    @property
    def genes(self) -> Genes:
        return self._genes

    @property
    def parts(self) -> frozenset[str]:
        return frozenset({EXPERTS})

    @torch.no_grad()
    def apply(self, genome: Sequence[float]) -> None:
        for block, level in self._by_block(genome).items():
            if level != self._levels[block]:
                self._experts[block].narrow(self.kept(block, self._experts[block].count - level))
                self._levels[block] = level
        if self.settings.top_k:
            self._chosen = self._active - int(genome[-1])
            for each in self._experts.values():
                each.choose(self._chosen)

    def _by_block(self, genome: Sequence[float]) -> dict[int, int]:
        """Return the number of experts that each block loses."""
        both = zip(self._governed.values(), map(int, genome), strict=not self.settings.top_k)
        return {block: level for blocks, level in both for block in blocks}

    def kept(self, block: int, left: int) -> torch.Tensor:
        """The ``left`` experts of ``block`` that stay: int64, in their order in the model."""
        return self._stored[f"order.{block}"][:left].sort().values

    def marks(self) -> Sequence[Hashable]:
        return [(level, self._chosen) for level in self._levels]

    def prices(self, unit: str) -> Prices:
        resident, every = self.resident, [*self._experts.values()]
        idle = sum((each.count - each.active) * each.touched for each in every)
        totals = {
            WEIGHTS: resident.prunable_weights, PARAMETERS: resident.parameters, ATTENTION: resident.attention_width,
            ACTIVE: resident.parameters - idle,
        }  # fmt: skip
        removed: dict[str, Callable[[RoutedExperts], int]] = {
            WEIGHTS: lambda one: one.weights, PARAMETERS: lambda one: one.parameters, ATTENTION: lambda _: 0,
            ACTIVE: lambda one: one.parameters - one.touched,
        }  # fmt: skip
        each = [sum(removed[unit](self._experts[block]) for block in blocks) for blocks in self._governed.values()]
        if self.settings.top_k:
            each.append(sum(one.touched for one in every) if unit == ACTIVE else 0)
        prices: list[Price] = [
            [0.0 - size * level for level in range(len(gene.levels))]
            for size, gene in zip(each, self._genes, strict=True)
        ]
        return prices, float(totals[unit])

    @property
    def plain(self) -> bool:
        left = self._left
        if len(set(left.values())) > 1:
            return False
        block, count = next(iter(left.items()))
        return count == self._experts[block].count or has_form(self.resident.model, self._form(count), block)

    def write(self, model: Any) -> None:
        set_form(model.config, self._form(next(iter(self._left.values()))))

    @property
    def _left(self) -> dict[int, int]:
        """The number of experts that are left, by block."""
        return {block: each.count - self._levels[block] for block, each in self._experts.items()}

    def _form(self, left: int) -> Mapping[str, int]:
        """The entries of a config for a model with ``left`` experts in each block."""
        config = self.resident.model.config.get_text_config()
        told = {_CHOSEN: self._chosen} if self.settings.top_k else {}
        return {name: left for name in COUNTS if hasattr(config, name)} | told

    def remaining_rows(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:
        found = {}
        for block, level in self._by_block(genome).items():
            kept = self.kept(block, self._experts[block].count - level)
            for stack in self._experts[block].stacks if level else ():
                found[stack.name] = (kept[:, None] * stack.outputs + torch.arange(stack.outputs)).flatten()
        return found

    def measures(self) -> Mapping[str, Any]:
        return {"experts": sum(self._left.values())} | ({"top_k": self._chosen} if self.settings.top_k else {})

    def describe(self) -> dict[str, Any]:
        return {"experts": self.settings.model_dump(mode="json")}

    def remarks(self) -> list[str]:
        return unchosen_remarks({block: int(self._stored[f"counts.{block}"].eq(0).sum()) for block in self._experts})

    def _gene(self, name: str, block: int) -> Gene:
        experts = self._experts[block]
        levels = range(experts.count, experts.active - 1, -1)
        return Gene.of_levels(name, levels, f"block {block}" if self.settings.genes == "block" else "")

    def _make_stored(self) -> Tensors:
        if self._texts is None:  # any may stay
            return {f"order.{block}": torch.arange(each.count) for block, each in self._experts.items()}
        calibration, score = self.texts.calibration, self.settings.score
        what = [code(cuts), score, calibration.identity]
        build = partial(self._scored, calibration.tokens)
        return shared(self.resident, f"order: experts by {score}", what, build, torch.device("cpu"))

    def _scored(self, tokens: torch.Tensor) -> Tensors:
        stored: Tensors = {}
        every = score_experts(self.resident.model, list(self._experts.values()), tokens, self.settings.score)
        for experts, scores, counts in every:
            stored[f"order.{experts.block}"] = scores.argsort(descending=True, stable=True).cpu()
            stored[f"counts.{experts.block}"] = counts.cpu()
        return stored
