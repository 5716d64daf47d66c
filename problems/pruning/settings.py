"""The parameters of the pruning problem, as a YAML file gives them. Imports no torch."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from evoprune import Fraction, InputError, Settings, check_plugin

BUNDLED_MODEL = "bundled:gpt2-mini"
BUNDLED_TEXT = "bundled:python-docs"
LOCAL_TEXT_SUFFIXES = (".txt", ".jsonl", ".parquet")
HUB_SPLIT = "test"
"""The split of a hub text that names none."""

Sampling = Literal["first", "random", "clusters"]
SCORES, ALLOCATIONS = "evoprune.scores", "evoprune.allocations"
"""Groups of entry points."""

UNIFORM = "uniform"
"""The allocation that needs no finding, by its name among starts."""

CALIBRATION_TOKENS = 16_384
"""How much of the search text calibrates where nothing else is said: 32 windows of 512."""


TOLERANCE = 1e-4
"""How far from its target a sparsity counts as on it."""


def uniform_name(sparsity: float) -> str:
    """What the uniform allocation at ``sparsity`` is called among the references."""
    return f"uniform {100 * sparsity:g}%"


def _absolute_if_local(source: str) -> str:
    """A path that exists becomes absolute, so that a stored experiment works from any folder."""
    try:
        path = Path(source).expanduser()
        return str(path.resolve()) if path.exists() else source
    except (OSError, RuntimeError) as error:  # a name too long; a home that no one has
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _registered(group: str, *others: str) -> AfterValidator:
    """Checks a name of ``group``, or one of ``others``, without importing what it names, which may need torch."""

    def check(name: str) -> str:
        try:
            if name not in others:
                check_plugin(group, name)
        except InputError as error:
            raise ValueError(str(error)) from None
        return name

    return AfterValidator(check)


ScoreName = Annotated[str, _registered(SCORES)]
AllocationName = Annotated[str, _registered(ALLOCATIONS)]
StartName = Annotated[str, _registered(ALLOCATIONS, UNIFORM)]
Source = Annotated[str, Field(min_length=1), AfterValidator(_absolute_if_local)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]


class TextSettings(Settings):
    """Where a text comes from, and how much of it is scored."""

    source: Source = Field(description="hub id, a .txt, .jsonl or .parquet file, or bundled:python-docs")
    subset: str | None = Field(None, description="the hub data set's configuration, wikitext-2-raw-v1 say")
    split: str | None = Field(None, description="the hub's or the bundled text's split; null is the hub's test")
    column: str = Field("text", description="the column that holds the text, in all but .txt")
    window: int = Field(512, ge=2, description="tokens in a window; windows do not overlap")
    windows: int | None = Field(8, ge=1, description="how many windows of the text; null takes all")
    sampling: Sampling = Field(
        "first", description="which windows: the first, random ones, or the most typical of clusters of the text's"
    )
    sampling_seed: int = Field(0, ge=0, description="of random and clusters")

    @property
    def is_bundled(self) -> bool:
        """Whether the source names a text that comes with evoprune."""
        return self.source.startswith("bundled:")

    @property
    def is_local(self) -> bool:
        """Whether the source is a path on this machine, and not on the hub."""
        path = Path(self.source)
        return not self.is_bundled and (path.suffix in LOCAL_TEXT_SUFFIXES or path.exists())

    @property
    def identity(self) -> tuple[str | None, ...]:
        """What tells two texts apart: nothing but what is read of the settings."""
        if self.is_local:
            path = Path(self.source).resolve()
            return (str(path), None if path.suffix == ".txt" else self.column)
        if self.is_bundled:
            return (self.source, self.split)
        return (self.source, self.subset, self.split or HUB_SPLIT, self.column)


BUNDLED_REPORT_TEXT = TextSettings(source=BUNDLED_TEXT, split="test", window=256, windows=None)


class ModelSettings(Settings):
    """Which model is loaded, and how it is held."""

    model: Source = Field(BUNDLED_MODEL, description="hub id, local folder, .gguf file, or bundled:gpt2-mini")
    revision: str | None = Field(None, description="branch, tag or commit of a model on the hub")
    trust_remote_code: bool = Field(False, description="run model code from the hub")
    device: Device = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of weights and products; auto is bfloat16 where the device is fast at it, else float32"
    )


class PruningSettings(ModelSettings):
    """Parameters of the pruning problem."""

    sparsity: Fraction = Field(0.45, description="share of the prunable weights that is removed")
    min_sparsity: Fraction = Field(0.0, description="lower bound of a gene")
    max_sparsity: Fraction = Field(0.9, description="upper bound of a gene")
    genes: Literal["block", "matrix", "kind", "block_and_kind"] = Field(
        "block",
        description="what a gene governs: a block, a matrix, a kind of matrix in all blocks, or each block "
        "and, added to it, each kind",
    )
    score: ScoreName = Field(
        "magnitude",
        description="ranks the weights, the lowest go first: magnitude, wanda, ria, obs, taylor, fisher, gblm",
    )
    scores: dict[str, ScoreName] = Field(
        {}, description="scores of some kinds of matrix: {mlp.down_proj: wanda}, by their names within a block"
    )
    scope: Literal["auto", "matrix", "row", "block"] = Field(
        "auto",
        description="what weights are compared in: a matrix, its output rows, or all that a gene governs (block); "
        "auto is row for wanda and ria, matrix for others",
    )
    reconstruct: Literal["none", "sparsegpt", "least_squares"] = Field(
        "none",
        description="the result is scored again with its remaining weights updated to make up for the others: "
        "by SparseGPT, or further to the best for the mask",
    )
    reconstruct_mask: Literal["score", "adaptive"] = Field(
        "adaptive", description="what reconstruction cuts: what the score says, or what SparseGPT finds as it goes"
    )
    reconstruct_stages: tuple[Fraction, ...] = Field(
        (),
        description="sparsities at which each layer is reconstructed before the search, so that candidates are judged "
        "with their weights updated; needs memory for a copy of the model, and its levels, each",
    )
    allocations: tuple[AllocationName, ...] = Field(
        (),
        description="found without search, scored beside it: owl, alpha, erdos_renyi, global, global_normalised, "
        "layer_errors",
    )
    initial_spread: Fraction = Field(0.15, description="first genomes lie this far around the target")
    starts: tuple[StartName, ...] = Field(
        (UNIFORM,), description="in the first population: uniform, and allocations by name, see above"
    )
    advice: AllocationName | None = Field(
        None, description="an allocation by name, see above, that exchange is drawn to where its strength is above 0"
    )
    curve: tuple[Fraction, ...] = Field(
        tuple(step / 100 for step in range(5, 60, 5)), description="sparsities of the uniform curve"
    )
    search_text: TextSettings = Field(
        TextSettings(source=BUNDLED_TEXT, split="validation", window=256, windows=16),
        description="what the search sees",
    )
    held_out_windows: int = Field(
        8, ge=0, description="windows of the search text's source, unseen by the search, that tell overfitting"
    )
    report_text: TextSettings = Field(BUNDLED_REPORT_TEXT, description="what scores the result")
    calibration_text: TextSettings | None = Field(
        None, description="what scores and reconstruction learn from; null: the search text, about 16,384 tokens"
    )
    objective: Literal["perplexity", "kl"] = Field(
        "perplexity", description="fitness: perplexity, or divergence from the dense model"
    )
    second_objective: Literal["none", "sparsity"] = Field(
        "none", description="sparsity: the search looks for all trade-offs, without a budget; use nsga2, and no repair"
    )
    kl_top: int = Field(64, ge=1, description="how many of the dense model's probabilities a token kl keeps")
    batch_tokens: int | None = Field(
        None, ge=1, description="tokens in one forward pass, at least one window; null fits the memory"
    )
    reuse_mib: int = Field(512, ge=0, description="memory for hidden states that relatives start from; 0 is none")
    compile: bool = Field(False, description="torch.compile the blocks: pays in long searches, needs a compiler")

    @model_validator(mode="after")
    def _consistent(self) -> PruningSettings:
        if not self.min_sparsity <= self.sparsity <= self.max_sparsity:
            raise ValueError(
                f"sparsity {self.sparsity:g} cannot be reached with genes between min_sparsity "
                f"{self.min_sparsity:g} and max_sparsity {self.max_sparsity:g}"
            )
        self._check_stages()
        if self.search_text.identity == self.report_text.identity:
            raise ValueError(
                "search_text and report_text are the same text; a text that the search sees must not score its "
                "result; cut the file in two, or give another"
            )
        if self.report_text.sampling != "first":
            raise ValueError(
                f"report_text.sampling is {self.report_text.sampling}; results are compared on the text's first "
                "windows: expected first"
            )
        if self.genes == "block_and_kind" and self.found:
            raise ValueError(
                "allocations, also as starts or advice, need genes that are sparsities of their own: "
                "block, matrix or kind"
            )
        if self.calibration_text and self.calibration_text.identity == self.report_text.identity:
            raise ValueError("calibration_text and report_text are the same text; what calibrates must not report")
        return self

    def _check_stages(self) -> None:
        stages = self.reconstruct_stages
        if stages and self.reconstruct == "none":
            raise ValueError(
                "reconstruct_stages says where to reconstruct, but reconstruct is none: expected sparsegpt or "
                "least_squares, or no stages"
            )
        if any(low >= up for low, up in pairwise((0.0, *stages, 1.0))):
            raise ValueError(
                f"reconstruct_stages is {list(stages)}: expected sparsities between 0 and 1 that rise, such as "
                "[0.3, 0.4, 0.5]"
            )

    @property
    def objective_label(self) -> str:
        """What figures call the objective, its unit and its text."""
        return {"perplexity": "perplexity", "kl": "KL from dense, nats a token"}[self.objective] + " (search text)"

    @property
    def found(self) -> tuple[str, ...]:
        """The allocations without search that are asked for: as references, to start from, or as advice."""
        advice = [self.advice] if self.advice else []
        return tuple(dict.fromkeys([*self.allocations, *(n for n in self.starts if n != UNIFORM), *advice]))

    @property
    def calibration(self) -> TextSettings:
        """The text that calibrates; of the search text, so much as makes up ``CALIBRATION_TOKENS``."""
        if self.calibration_text:
            return self.calibration_text
        windows = max(1, CALIBRATION_TOKENS // self.search_text.window)
        return self.search_text.model_copy(update={"windows": windows})


Dtype = Literal["float32", "bfloat16", "float16"]


class ExportSettings(Settings):
    """What an export may be told."""

    dtype: Dtype | None = Field(None, description="number format of what is written (default: the run's)")
    compact: bool = Field(False, description="also a copy that stores zeros as single bits")


class EvalSettings(Settings):
    """What an evaluation may be told."""

    text: Source | None = Field(
        None, description="hub id, .txt, .jsonl or .parquet file, bundled:python-docs (default: the run's report text)"
    )
    split: str | None = Field(None, description="the hub's or the bundled text's split")
    column: str = Field("text", description="the column that holds the text, in all but .txt")
    window: int | None = Field(None, ge=2, description="tokens in a window; windows do not overlap")
    windows: int | None = Field(None, ge=1, description="windows from the start of the text (default with --text: all)")
    dtype: Dtype | None = Field(
        None, description="number format to compute in (default: the run's; float32 for a model)"
    )
    device: Device = Field(
        "auto", description="auto, cpu, cuda, cuda:N or mps; for a model (for a run: --set problem.device=)"
    )
    tasks: str | None = Field(
        None, description="names of lm-evaluation-harness tasks, with commas between; pip install 'evoprune[lm_eval]'"
    )
    include_path: str | None = Field(None, description="a folder with task files of your own")
    limit: int | None = Field(None, ge=1, description="examples of each task (default: all)")

    @model_validator(mode="after")
    def _consistent(self) -> EvalSettings:
        if self.tasks is None and (self.limit, self.include_path) != (None, None):
            raise ValueError("limit and include_path say how tasks are run; name the tasks, too")
        return self
