"""CMA-ES without covariances, for many genes."""

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy
from deap.cma import Strategy


class Separable(Strategy):
    """DEAP's strategy with variances alone, in linear time and memory.

    Ros and Hansen, "A simple modification in CMA-ES achieving linear time and space complexity", PPSN 2008, whose
    variances learn ``(genes + 2) / 3`` times as fast.
    """

    ccov1: float
    ccovmu: float

    def __init__(self, centroid: Sequence[float], sigma: float, lambda_: int) -> None:
        self.centroid, self.sigma, self.lambda_ = numpy.array(centroid), sigma, lambda_
        self.dim, self.update_count, self.cond = len(centroid), 0, 1.0
        self.chiN = math.sqrt(self.dim) * (1 - 1 / (4 * self.dim) + 1 / (21 * self.dim**2))
        self.C, self.pc, self.ps = numpy.ones(self.dim), numpy.zeros(self.dim), numpy.zeros(self.dim)
        self.diagD = numpy.ones(self.dim)
        self.computeParams({})
        faster = min((self.dim + 2) / 3, 1 / (self.ccov1 + self.ccovmu))
        self.ccov1, self.ccovmu = faster * self.ccov1, faster * self.ccovmu

    def generate(self, ind_init: Callable[[Any], Any]) -> list[Any]:
        steps = numpy.random.standard_normal((self.lambda_, self.dim)) * self.diagD
        return [ind_init(genome) for genome in self.centroid + self.sigma * steps]

    def update(self, population: list[Any]) -> None:
        population.sort(key=attrgetter("fitness"), reverse=True)
        steps = (numpy.array(population[: self.mu]) - self.centroid) / self.sigma
        step = self.weights @ steps
        self.centroid = self.centroid + self.sigma * step
        self.ps = (1 - self.cs) * self.ps + math.sqrt(self.cs * (2 - self.cs) * self.mueff) * step / self.diagD
        self.update_count += 1
        length = numpy.linalg.norm(self.ps) / self.chiN
        moves = length < (1.4 + 2 / (self.dim + 1)) * math.sqrt(1 - (1 - self.cs) ** (2 * self.update_count))
        rate = self.cc * (2 - self.cc)
        self.pc = (1 - self.cc) * self.pc + moves * math.sqrt(rate * self.mueff) * step
        stays = 1 - self.ccov1 - self.ccovmu + (1 - moves) * self.ccov1 * rate
        self.C = stays * self.C + self.ccov1 * self.pc**2 + self.ccovmu * self.weights @ steps**2
        self.sigma *= numpy.exp((length - 1) * self.cs / self.damps)
        self.diagD = numpy.sqrt(self.C)
        self.cond = self.diagD.max() / self.diagD.min()
