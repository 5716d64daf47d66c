import random

from evoprune import Space

DEFAULTS = {"algorithm": "generational", "select": "tournament", "mate": "members", "mutate": "substitute"}


class Teams(Space):
    """A number of different players out of all, in order."""

    name = "teams"

    def __init__(self, players: int, size: int) -> None:
        self.players, self.team_size = players, size

    @property
    def settings(self):
        return {"players": self.players, "size": self.team_size}

    def random(self):
        return tuple(sorted(random.sample(range(self.players), self.team_size)))

    def check(self, genome):
        if len(genome) != self.team_size or sorted({*genome} & {*range(self.players)}) != list(genome):
            raise ValueError(f"expected {self.team_size} different players in order, got {genome}")


def members(first, second):
    """Draw both children from the members of both parents."""
    every = sorted({*first, *second})
    for child in (first, second):
        child[:] = sorted(random.sample(every, len(child)))
    return first, second


def substitute(individual, *, space):
    """Put another player in the place of one."""
    new = random.choice([player for player in range(space.players) if player not in individual])
    individual[random.randrange(len(individual))] = new
    individual.sort()
    return (individual,)


def cost(team):
    return sum((player - 5) ** 2 for player in team)
