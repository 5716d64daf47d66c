"""Random numbers of a run, kept apart from others in its process."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy


@contextmanager
def draws_apart() -> Iterator[None]:
    """Keep random draws of evaluations and of workers' libraries in this process apart from the run's."""
    states = random.getstate(), numpy.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        numpy.random.set_state(states[1])
