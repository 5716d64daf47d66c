"""The fingerprint of a function is that of its code and values, in any process."""

import functools
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy
import pytest

from evoprune.interfaces.fingerprints import fingerprint, unchanged_by_calls
from evoprune.problems.benchmark import Benchmark


def of(function):
    return fingerprint(function, "f")


class Shifted:
    def __init__(self, shift):
        self.shift = shift
        self.lock = threading.Lock()

    def __call__(self, genome):
        return self.value(genome)

    def value(self, genome):
        return genome[0] + self.shift


class Scaled(Shifted):
    scale = 2

    def value(self, genome):
        return self.scale * super().value(genome)


def make(value):
    return lambda genome: genome[0] + value


def scaled(genome, scale, *, shift=0):
    return scale * genome[0] + shift


def cyclic(value):
    def call(genome):
        return call(genome[1:]) if genome[1:] else genome[0] + value

    return call


def built(text):
    """The class or function ``made`` of a module that has ``text``."""
    module = {"__name__": "users_module"}
    exec(text, module)
    return module["made"]


DIFFERENT = {
    "number": lambda: (make(0), make(1000)),
    "type": lambda: (make(1), make(1.0)),
    "text": lambda: (make("a"), make(b"a")),
    "list": lambda: (make([1, [2]]), make([1, [3]])),
    "mapping": lambda: (make({"a": 1}), make({"a": 2})),
    "set": lambda: (make({"a", "b"}), make({"a", "c"})),
    "array": lambda: (make(numpy.arange(3.0)), make(numpy.arange(3.0) + 1)),
    "nested function": lambda: (make(make(0)), make(make(1))),
    "default": lambda: ((lambda g, s=1: s * g), (lambda g, s=2: s * g)),
    "lambda in one line": lambda: ((lambda g: g[0] + 1), (lambda g: g[0] + 2)),
    "name": lambda: ((lambda g: abs(g[0])), (lambda g: float(g[0]))),
    "nested code": lambda: ((lambda g: sum(x for x in g)), (lambda g: sum(x * x for x in g))),
    "partial": lambda: (functools.partial(scaled, scale=1), functools.partial(scaled, scale=2)),
    "object": lambda: (Shifted(0), Shifted(1)),
    "method": lambda: (Shifted(0).value, Shifted(1).value),
    "class": lambda: (Shifted(0), Scaled(0)),
    "cycle": lambda: (cyclic(0), cyclic(1)),
    "cached": lambda: (functools.lru_cache(make(0)), functools.lru_cache(make(1))),
    "constant of a class": lambda: (built("class made:\n scale = 1"), built("class made:\n scale = 2")),
    "method of a class": lambda: [built(f"class made:\n def __call__(self, g): return g + {n}") for n in range(2)],
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_another_function_has_another_fingerprint(name):
    one, other = DIFFERENT[name]()
    assert of(one) != of(other)
    assert [of(each) for each in DIFFERENT[name]()] == [of(one), of(other)]


def test_neither_comments_nor_the_place_in_the_file_matter():
    assert of(built("def made(g): return g")) == of(built("\n\n# a comment\ndef made(g):\n    return g  # more\n"))


def test_fingerprints_are_the_same_in_all_processes():
    """With all kinds of values, whatever the order of sets and the addresses of objects are."""
    code = "import test_fingerprints as t; print([t.of(f) for make in t.DIFFERENT.values() for f in make()])"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    printed = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            check=True,
        ).stdout
        for seed in "12"
    ]
    assert printed[0] == printed[1]


class Broken:
    def __reduce_ex__(self, protocol):
        raise RuntimeError

    def __getattr__(self, name):
        raise RuntimeError


def test_things_that_cannot_be_described_do_no_harm():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with Path(os.devnull).open() as file:
        for thing in (file, threading.Lock(), (x for x in "ab"), sys, Broken(), deep, 10**5000, "\ud800", object()):
            assert of(make(thing)) == of(make(thing))
    while deep:  # else its deletion recurses
        deep = deep[0]


def test_random_numbers_are_noise():
    for kind in (random.Random, numpy.random.default_rng):
        assert of(make(kind(1))) == of(make(kind(2)))


def test_calls_that_count_or_store_change_no_fingerprint():
    log, cache = [], {}

    def logged(shift):
        def call(genome):
            log.append(genome)
            cache[genome] = 1
            return genome + shift

        return call

    begun = [of(logged(shift)) for shift in range(2)]
    first = logged(0)
    with unchanged_by_calls([first]):
        first(3.5)
    assert [of(logged(shift)) for shift in range(2)] == begun  # of another that shares them, too
    log.append(4)
    assert of(first) != begun[0]


def test_functions_and_problems_of_libraries_have_no_code_of_their_own():
    assert not Benchmark(Benchmark.Settings()).fingerprint()
    assert [*of(os.path.join)] == ["values of f"]
