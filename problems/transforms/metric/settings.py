"""The parameters of the cut by a searched score. Imports no torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from problems.transforms.weights.settings import WeightsSettings


class MetricSettings(WeightsSettings):
    """As those of ``weights``, but without a score, which is searched, and without stages, which need one."""

    score: str = Field("wanda", description="not to be given: it is searched, from that of Wanda on")

    @model_validator(mode="after")
    def _searched(self) -> MetricSettings:
        given = sorted({"score", "scores", "reconstruct_stages"} & self.model_fields_set)
        if given:
            raise ValueError(
                f"metric searches the score itself: leave out {', '.join(given)}, or use the transform weights"
            )
        return self
