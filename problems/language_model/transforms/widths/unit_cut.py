"""The base of ``heads`` and ``channels``: a gene for each block is the number of units that stay."""

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from cachetools import LRUCache
from pydantic import Field
from torch import nn

from evoprune import Gene, Genes, InputError, Price, Settings
from evoprune.problems.language_model import scores
from evoprune.problems.language_model import transforms as cuts
from evoprune.problems.language_model.calibration.statistics import GRAM, damped_factor, statistics
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, code, shared
from evoprune.problems.language_model.models.blocks import Matrix, find_blocks, in_features
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import registered
from evoprune.problems.language_model.models.sublayers import Kind, Sublayer, set_dropped
from evoprune.problems.language_model.scores import SCORES, find_score, needs
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.costs import ATTENTION, PARAMETERS, WEIGHTS, Prices
from evoprune.problems.language_model.transforms.options import Needs
from evoprune.problems.language_model.transforms.sublayers import protected
from evoprune.problems.language_model.transforms.transform import RECENT_BYTES, Transform
from evoprune.problems.language_model.transforms.weights.scoring import Scoring
from evoprune.problems.language_model.transforms.widths.refit import best_first, losses, refitted
from evoprune.problems.language_model.transforms.widths.units import Units, has_form, set_form, tell_apart

STRUCTURED = "structured_obs"  # the name of the order that is no score of single weights


class UnitsSettings(Settings):
    """The order of units, the blocks that lose none, and whether remaining weights are refitted."""

    score: Annotated[str, registered(SCORES, STRUCTURED)] = Field(
        "magnitude",
        description="ranks the units by the sum of the scores of their weights, the lowest are removed first: "
        f"magnitude, wanda, ria, obs, taylor, fisher, gblm; or {STRUCTURED}: by what the output matrix loses without "
        "them when it makes up for it",
    )
    genes: Literal["block", "model"] = Field(
        "block", description="whether each block has a gene, or one gene says how many units stay in all of them"
    )
    keep: tuple[int, ...] = Field(
        (), description="blocks that lose nothing, counted from 0; -1 is the last: [0, -1] is the first and the last"
    )
    drop: bool = Field(
        True, description="whether the last level drops the sublayer with its norm; else it keeps the fewest units"
    )
    compensate: bool = Field(
        False,
        description="refit the output matrix of a narrower sublayer on the calibration text, by least squares, to the "
        "outputs of the dense one",
    )


class UnitCut(Transform):
    """Leave units out of the attention or of the MLP of each block, the ones with the lowest scores first.

    The tensors in the layers get smaller. Subclasses say what a unit is.
    """

    kind: ClassVar[Kind]
    """The sublayer that is made of units."""

    noun: ClassVar[str]
    """The plural that levels count and genes are named after."""

    Settings = UnitsSettings
    settings: UnitsSettings
    units = (WEIGHTS, PARAMETERS, ATTENTION)

    def __init__(self, resident: Resident, settings: UnitsSettings, texts: Texts | None) -> None:
        if texts is None:  # any units may stay
            settings = settings.model_copy(update={"score": "magnitude", "compensate": False})
        super().__init__(resident, settings, texts)
        self._blocks = list(find_blocks(resident.model)[1])
        self._units = self._found()
        self._totals = {
            WEIGHTS: resident.prunable_weights,
            PARAMETERS: resident.parameters,
            ATTENTION: resident.attention_width,
        }
        lasts, kept = None if settings.drop else -1, protected(settings.keep, len(self._blocks))
        self._left = [list(self.steps(units))[: 1 if at in kept else lasts] for at, units in enumerate(self._units)]
        if all(len(left) == 1 for left in self._left):
            raise InputError(f"no block has {self.noun} that may be left out", "problem.transforms.keep")
        self._governed = self._governed_by_each(kept)
        self._structured = settings.score == STRUCTURED
        self._scoring = None if self._structured else Scoring(self._matrices, settings.score, {}, "auto")
        self._stored = self._make_stored()
        self._genes = Genes([self._gene(name, blocks) for name, blocks in self._governed.items()])
        self._levels = [0] * len(self._blocks)
        self._outputs: LRUCache[tuple[int, int], torch.Tensor] = LRUCache(
            RECENT_BYTES, lambda weight: min(RECENT_BYTES, weight.nbytes)
        )

    @abstractmethod
    def split(self, sublayer: Sublayer, matrices: Mapping[nn.Module, Matrix], interleaved: bool) -> Units:
        """``sublayer`` taken apart; see :func:`evoprune.problems.language_model.transforms.widths.units.split`."""

    @abstractmethod
    def steps(self, units: Units) -> Sequence[int]:
        """The numbers of ``units`` that stay, one for each level: from all down to 0."""

    @abstractmethod
    def size(self, units: Units) -> int:
        """The number of heads or channels in one of ``units``."""

    @abstractmethod
    def form(self, left: int) -> Mapping[str, int]:
        """The entries of a config for a model with ``left`` units in each block."""

    @classmethod
    def calibrates(cls, settings: UnitsSettings) -> bool:
        return settings.compensate or settings.score == STRUCTURED or bool(needs(find_score(settings.score)))

    @property
    def genes(self) -> Genes:
        return self._genes

    @property
    def parts(self) -> frozenset[str]:
        """The units, and whether their sublayer is there, if the last level drops it."""
        return frozenset({f"{self.kind} {self.noun}"} | ({self.kind} if self.settings.drop else set()))

    @classmethod
    def needs_of(cls, resident: Resident, settings: UnitsSettings) -> Needs:
        """Gram matrices of the inputs of the output matrices, or the statistics of the score; and what is refitted."""
        outputs: list[Any] = [sublayer.layers[-1] for sublayer in resident.sublayers if sublayer.kind == cls.kind]
        grams = refits = 0
        if settings.compensate:
            grams = 4 * sum(in_features(output) ** 2 for output in outputs)
            refits = RECENT_BYTES
        known = frozenset({GRAM}) if settings.score == STRUCTURED else needs(find_score(settings.score))
        return Needs(known, False, grams + refits, grams)

    @torch.no_grad()
    def apply(self, genome: Sequence[float]) -> None:
        for block, level in self._levels_of(genome).items():
            if level != self._levels[block]:
                self._set(block, level)
                self._levels[block] = level

    def remaining_inputs(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:
        left = {block: self._left[block][level] for block, level in self._levels_of(genome).items()}
        return {
            self._units[block].output.matrix.name: self._columns(block, count)
            for block, count in left.items()
            if 0 < count < self._units[block].count
        }

    def marks(self) -> Sequence[Hashable]:
        return list(self._levels)

    def prices(self, unit: str) -> Prices:
        prices: list[Price] = [
            [
                0.0 - sum(_removed(self._units[block], self._left[block][level], unit) for block in blocks)
                for level in range(len(gene.levels))
            ]
            for blocks, gene in zip(self._governed.values(), self._genes, strict=True)
        ]
        return prices, float(self._totals[unit])

    @property
    def plain(self) -> bool:
        left = self._left_everywhere
        model, units = self.resident.model, self._units[0]
        return bool(left) and (left == units.count or has_form(model, self.form(left)))

    def write(self, model: Any) -> None:
        if (left := self._left_everywhere) != self._units[0].count:
            set_form(model.config, self.form(left))

    @property
    def _left_everywhere(self) -> int:
        found = {left[level] for left, level in zip(self._left, self._levels, strict=True)}
        return found.pop() if len(found) == 1 else 0

    def describe(self) -> dict[str, Any]:
        return {self.noun: self.settings.model_dump(mode="json")}

    def kept(self, block: int, left: int) -> torch.Tensor:
        """The ``left`` units of ``block`` that stay: int64, in their order in the model."""
        order = self._stored[f"order.{block}"].to(self.resident.device)
        return order[:left].sort().values

    def _set(self, block: int, level: int) -> None:
        units, left = self._units[block], self._left[block][level]
        if 0 < left < units.count:  # first, as refitting may fail
            units.narrow(self.kept(block, left), self._refitted(block, left) if self.settings.compensate else None)
        else:
            units.restore()
        if bool(left) != bool(self._left[block][self._levels[block]]):
            set_dropped(self._blocks[block], units.sublayer, dropped=not left)

    def _refitted(self, block: int, left: int) -> torch.Tensor:
        if (block, left) not in self._outputs:
            output, factor = self._units[block].output, self._stored[f"factor.{block}"].to(self.resident.device)
            inputs = output.places[self._stored[f"order.{block}"].to(self.resident.device)].flatten()
            whole, kept = output.matrix.rows(self._units[block].whole_output), left * output.places.shape[1]
            weight = refitted(whole[:, inputs], factor, kept)[:, inputs[:kept].argsort()]
            self._outputs[block, left] = output.matrix.rows(weight).contiguous()
        return self._outputs[block, left]

    def _columns(self, block: int, left: int) -> torch.Tensor:
        return self._units[block].output.places[self.kept(block, left)].flatten().sort().values

    def _levels_of(self, genome: Sequence[float]) -> dict[int, int]:
        pairs = zip(self._governed.values(), map(int, genome), strict=True)
        return {block: level for blocks, level in pairs for block in blocks}

    def _governed_by_each(self, kept: set[int]) -> dict[str, list[int]]:
        blocks = range(len(self._blocks))
        if self.settings.genes == "block":
            return {f"{self.noun} {block}": [block] for block in blocks}
        governed = [block for block in blocks if block not in kept]
        if len({tuple(self._left[block]) for block in governed}) > 1:
            raise InputError(f"its blocks have different numbers of {self.noun}: give genes: block", "problem.model")
        return {self.noun: governed}

    def _gene(self, name: str, blocks: Sequence[int]) -> Gene:
        left, size = self._left[blocks[0]], self.size(self._units[blocks[0]])
        group = f"block {blocks[0]}" if self.settings.genes == "block" else ""
        return Gene.of_levels(name, [count * size for count in left], group, self._harms(blocks, left))

    def _harms(self, blocks: Sequence[int], left: Sequence[int]) -> list[float | None]:
        """The output error of one block with ``left`` units; empty of more blocks, or where nothing is refitted."""
        if not self.settings.compensate or len(blocks) > 1:
            return []
        lost = self._stored[f"lost.{blocks[0]}"]
        harms = [float(lost[count]) if count else None for count in left]
        return harms if any(harms) else []

    def _found(self) -> Sequence[Units]:
        model, mixtures = self.resident.model, self.resident.mixtures
        if self.kind == "mlp" and mixtures:
            raise InputError(
                f"the MLP of block {mixtures[0].block} is a mixture of experts: use the transform experts",
                "problem.transforms",
            )
        matrices = {matrix.module: matrix for matrix in self.resident.matrices}
        sublayers = [sublayer for sublayer in self.resident.sublayers if sublayer.kind == self.kind]
        return tell_apart(model, lambda interleaved: [self.split(each, matrices, interleaved) for each in sublayers])

    @property
    def _matrices(self) -> list[Matrix]:
        return [part.matrix for units in self._units for part in units.parts]

    def _make_stored(self) -> Tensors:
        settings, tokens = self.settings, torch.empty(0, 1, dtype=torch.int64)
        if self._texts is None:
            return self._computed(tokens)
        what: list[object] = [code(cuts, scores), self.noun, settings.score, settings.compensate]
        if self._scoring:
            what += [sorted(self._scoring.describe().items()), self._scoring.code]
        if self.calibrates(settings):
            tokens = self.texts.calibration.tokens
            what += [self.texts.calibration.identity]
        label = f"order: {self.noun} by {settings.score}"
        # in main memory: the Gram matrices of all blocks may be larger than the model
        return shared(self.resident, label, what, partial(self._computed, tokens), torch.device("cpu"))

    def _computed(self, tokens: torch.Tensor) -> Tensors:
        model = self.resident.model
        parts = {part.matrix.name: part for units in self._units for part in units.parts}
        stored: Tensors = {}
        grams: dict[int, torch.Tensor] = {}
        if self.settings.compensate or self._structured:
            for matrix, known in statistics(model, tokens, [units.output.matrix for units in self._units], {GRAM}):
                if self.settings.compensate:
                    grams[matrix.block] = known[GRAM].cpu()
                if self._structured:
                    places = parts[matrix.name].places
                    stored[f"order.{matrix.block}"] = best_first(matrix.rows(matrix.weight), known[GRAM], places)
        if self._scoring:
            sums: dict[int, torch.Tensor] = {}
            for matrix, score in self._scoring.scored(model, tokens):
                sums[matrix.block] = sums.get(matrix.block, 0.0) + parts[matrix.name].sums(score)
            stored |= {f"order.{block}": each.argsort(descending=True, stable=True) for block, each in sums.items()}
        if self.settings.compensate:
            for block, units in enumerate(self._units):
                weight, places = units.output.matrix.rows(units.whole_output), units.output.places
                inputs = places[stored[f"order.{block}"]].flatten()
                factor = damped_factor(grams.pop(block).to(weight.device)[inputs][:, inputs])
                stored[f"lost.{block}"] = losses(weight[:, inputs], factor)[:: places.shape[1]].contiguous()
                stored[f"factor.{block}"] = factor.float().cpu().contiguous()
        return stored


def _removed(units: Units, left: int, unit: str) -> int:
    """The amount in ``unit`` that is removed where ``left`` of ``units`` stay."""
    each, whole = {
        WEIGHTS: (units.weights, units.sublayer_weights),
        PARAMETERS: (units.parameters, units.sublayer_parameters),
        ATTENTION: (units.attention_width // units.count, units.attention_width),
    }[unit]
    return (units.count - left) * each if left else whole
