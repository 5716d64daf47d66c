"""The transform ``experts``: fewer routed experts in the mixtures of a model, with their rows of the routers."""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field

from evoprune import Gene, Genes, InputError, Price, Settings
from evoprune.problems import transforms as cuts
from evoprune.problems.calibration.tensor_cache import Tensors, code, shared
from evoprune.problems.models.experts import COUNTS, find_experts, unchosen_remarks
from evoprune.problems.models.resident import Resident
from evoprune.problems.texts.text_splits import Texts
from evoprune.problems.transforms.experts.scores import score_experts
from evoprune.problems.transforms.sublayers import protected
from evoprune.problems.transforms.transform import ATTENTION, PARAMETERS, WEIGHTS, Prices, Transform
from evoprune.problems.transforms.widths.units import has_form, set_form


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
    keep: tuple[int, ...] = Field(
        (), description="blocks that lose no expert, counted from 0; -1 is the last: [0, -1] is the first and the last"
    )


class Experts(Transform):
    """Leave routed experts out, the ones with the lowest scores first; at least as many stay as a token chooses.

    The router chooses among the remaining ones, and weighs them as its architecture does. Shared experts stay.
    """

    Settings = ExpertsSettings
    settings: ExpertsSettings
    units = (WEIGHTS, PARAMETERS, ATTENTION)

    def __init__(self, resident: Resident, settings: ExpertsSettings, texts: Texts | None) -> None:
        super().__init__(resident, settings, texts)
        found = find_experts(resident.model, check=texts is not None, late=resident.streams)
        kept = protected(settings.keep, resident.forward.depth)
        self._experts = {each.block: each for each in found}
        free = [block for block in self._experts if block not in kept]
        if all(self._experts[block].count == self._experts[block].active for block in free):
            raise InputError("no block has experts that may be left out", "problem.transforms.keep")
        self._governed = {f"experts {block}": [block] for block in free}
        if settings.genes == "model":
            if len({(self._experts[block].count, self._experts[block].active) for block in free}) > 1:
                raise InputError("its blocks have different numbers of experts: give genes: block", "problem.model")
            self._governed = {"experts": free}
        self._genes = Genes([self._gene(name, blocks[0]) for name, blocks in self._governed.items()])
        self._stored = self._make_stored()
        self._levels = [0] * resident.forward.depth

    @classmethod
    def calibrates(cls, settings: ExpertsSettings) -> bool:  # noqa: ARG003 - every score does
        return True

    @property
    def genes(self) -> Genes:
        return self._genes

    @property
    def parts(self) -> frozenset[str]:
        return frozenset({"mlp experts"})

    @torch.no_grad()
    def apply(self, genome: Sequence[float]) -> None:
        for blocks, level in zip(self._governed.values(), map(int, genome), strict=True):
            for block in blocks:
                if level != self._levels[block]:
                    self._experts[block].narrow(self.kept(block, self._experts[block].count - level))
                    self._levels[block] = level

    def kept(self, block: int, left: int) -> torch.Tensor:
        """The ``left`` experts of ``block`` that stay: int64, in their order in the model."""
        return self._stored[f"order.{block}"][:left].sort().values

    def marks(self) -> Sequence[Hashable]:
        return list(self._levels)

    def prices(self, unit: str) -> Prices:
        totals = (self.resident.prunable_weights, self.resident.parameters, self.resident.attention_width)
        prices: list[Price] = []
        for blocks, gene in zip(self._governed.values(), self._genes, strict=True):
            own = [self._experts[block] for block in blocks]
            sizes = (sum(one.weights for one in own), sum(one.parameters for one in own), 0)
            each = sizes[self.units.index(unit)]
            prices.append([0.0 - each * level for level in range(len(gene.levels))])
        return prices, float(totals[self.units.index(unit)])

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
        return {name: left for name in COUNTS if hasattr(config, name)}

    def rows_left(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:
        found = {}
        for blocks, level in zip(self._governed.values(), map(int, genome), strict=True):
            for block in blocks if level else ():
                kept = self.kept(block, self._experts[block].count - level)
                for stack in self._experts[block].stacks:
                    found[stack.name] = (kept[:, None] * stack.outputs + torch.arange(stack.outputs)).flatten()
        return found

    def measures(self) -> Mapping[str, Any]:
        return {"experts": sum(self._left.values())}

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
