"""EvoPress's way (Sieberling et al., ICML 2025): a stored tensor for each level of each matrix."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file

from problems.language_model.settings import PruningSettings
from problems.models.blocks import find_matrices
from problems.models.load import load_model
from problems.texts.windows import cut_windows
from tests.benchmarks.plain import perplexity
from tests.benchmarks.ways import Way


class EvoPress(Way):
    """The changed matrices are loaded from their files; bfloat16, a window at a time, all its logits.

    Their scripts keep ``.pth`` files; safetensors, mapped into memory, load no slower.
    """

    def __init__(self, settings: PruningSettings) -> None:
        super().__init__(settings)
        self._model, tokenizer = load_model(settings.model_copy(update={"dtype": "bfloat16"}))
        self._model.set_attn_implementation("sdpa")
        self._tokens = cut_windows(settings.search_text, tokenizer, "search_text").tokens
        self._matrices = find_matrices(self._model)
        self._loaded = dict.fromkeys((matrix.name for matrix in self._matrices), 0.0)
        self._home = TemporaryDirectory(prefix="levels-")

    def genes(self) -> int:
        """See :meth:`Way.genes`."""
        return 1 + self._matrices[-1].block

    def prepare(self, genomes: list[list[float]]) -> None:
        """Write the files of the levels in ``genomes``; must come before anything is scored."""
        for matrix in self._matrices:
            magnitudes = matrix.weight.detach().abs()
            lowest_first = magnitudes.flatten().sort().values
            for level in {genome[matrix.block] for genome in genomes}:
                count = round(level * matrix.size)
                kept = magnitudes > lowest_first[count - 1] if count else torch.ones_like(magnitudes)
                self._file(matrix.name, level).parent.mkdir(exist_ok=True)
                save_file({"weight": matrix.weight * kept}, self._file(matrix.name, level))

    def score(self, genome: list[float], windows: int | None = None) -> float:
        """See :meth:`Way.score`."""
        for matrix in self._matrices:
            level = genome[matrix.block]
            if self._loaded[matrix.name] != level:
                matrix.weight.data = load_file(self._file(matrix.name, level))["weight"]
                self._loaded[matrix.name] = level
        return perplexity(self._model, self._tokens[:windows])

    def _file(self, name: str, level: float) -> Path:
        return Path(self._home.name) / name / f"{level}.safetensors"
