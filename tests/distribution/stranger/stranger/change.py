from pydantic import Field

from evoprune import Evaluation, Gene, Genes, Problem, Settings


class ChangeSettings(Settings):
    amount: int = Field(63, ge=1, description="cents to pay")


class Change(Problem):
    """Pay an amount with as few coins as possible."""

    Settings = ChangeSettings
    genes = Genes([Gene.of_levels(f"coins of {value}", range(10)) for value in (1, 5, 10, 25)])

    def evaluate(self, genome, fidelity=1.0):
        paid = sum(count * value for count, value in zip(genome, (1, 5, 10, 25), strict=True))
        return Evaluation((sum(genome) + 100 * abs(self.settings.amount - paid),))
