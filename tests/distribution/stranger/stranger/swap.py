import random


def swap(individual):
    """Let two genes change places."""
    one, other = random.sample(range(len(individual)), 2)
    individual[one], individual[other] = individual[other], individual[one]
    return (individual,)
