"""Names in experiments that were changed, so that an old YAML file is answered with the new ones.

Problems and other schemas declare their own in :attr:`evoprune.Checked.renamed`, in the same form.
"""

from __future__ import annotations

from collections.abc import Mapping

OPERATOR_PARAMETERS: Mapping[str, str] = {
    "weights": "no longer a parameter: the problem's budget holds what each gene spends",
    "target": "no longer a parameter: the problem's budget holds the limit",
    "starts": "initial_genomes",
    "advice": "prior",
}
"""Of parameters that operators take."""


def answer(new: str) -> str:
    """The message about an old name: ``new`` is the new one, or a sentence where it has a space."""
    return new if " " in new else f"is called '{new}' now"
