import torch
from pydantic import Field

from evoprune import Gene, Genes, Settings
from evoprune.problems.language_model.transforms.transform import Transform


class FirstChannelsSettings(Settings):
    step: int = Field(64, ge=1, description="channels between two levels")


class FirstChannels(Transform):
    """Set the first channels of each MLP of a GPT-2 to zero."""

    Settings = FirstChannelsSettings
    genes = dense = None

    def __init__(self, resident, settings, texts):
        super().__init__(resident, settings, texts)
        ends = [[m for m in resident.matrices if m.kind == kind] for kind in ("mlp.c_fc", "mlp.c_proj")]
        self._mlps = [(up, down, up.weight.clone(), down.weight.clone()) for up, down in zip(*ends, strict=True)]
        self._inside, self._width = self._mlps[0][2].shape
        levels = range(0, self._width + 1, settings.step)
        self.genes = Genes([Gene.of_levels(f"mlp {block}", levels) for block in range(len(self._mlps))])
        self._applied = self.dense = [0.0] * len(self._mlps)

    def apply(self, genome):
        for old, new, (up, down, dense_up, dense_down) in zip(self._applied, genome, self._mlps, strict=True):
            if old != new:
                kept = torch.arange(self._width) >= new * self.settings.step
                up.weight.copy_(dense_up * kept)
                down.weight.copy_(dense_down * kept[:, None])
        self._applied = list(genome)

    def block_fingerprints(self):
        return self._applied

    def prices(self, unit):
        tables = [[-2.0 * self._inside * channels for channels in gene.levels] for gene in self.genes]
        return tables, sum(matrix.size for matrix in self.resident.matrices)
