from evoprune.problems.language_model.prune.experiments import experiment
from evoprune.problems.language_model.prune.goals import SHARES
from evoprune.problems.language_model.prune.interfaces import Goal


class Depth(Goal):
    """Whole blocks go, with a share of the blocks' parameters."""

    name, help, expects = "depth", "leave out whole blocks, as in 50%", "a share between 0 and 1"
    units, between = SHARES, (0, 1)

    def experiment(self, setup):
        transforms = [{"use": "sublayers", "genes": "block"}]
        budget = {"use": "parameters", "removed": self.value}
        problem = {"use": "language_model", "transforms": transforms, "budget": budget, "objective": "kl"}
        return experiment(setup, problem, {"algorithm": "greedy"}, 40, {"batch": 1})
