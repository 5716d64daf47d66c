from contextlib import nullcontext

import pytest

from evoprune import Evaluation, Genes, InputError, Problem
from evoprune.backends.execution import Execution


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["-n", "0"], "-n: "),
        (["-n", "49"], "-n: "),  # more than 8 for each of six cores
        (["-n", "100001", "--map", "dask"], "-n: "),
        (["--threads", "-1"], "--threads: "),
        (["--threads", "49"], "--threads: "),
        (["--map", "serial", "-n", "2"], "--map: serial has one worker"),
        (["--devices", "cuda:0,"], "--devices: expected auto, or devices such as cpu or cuda:0,cuda:1, got ''"),
        (["--devices", "../x"], "--devices: expected auto"),
        (["--stall-after", "0"], "--stall-after: expected seconds above 0"),
        (["--stall-after", "nan"], "--stall-after: expected seconds above 0"),
        (["--scheduler", "tcp://x:1"], "--scheduler: is for --map dask alone"),
        (["--map", "dask", "--hostfile", "x"], "--hostfile: is for --map scoop alone"),
        (["--map", "dask", "--scheduler", "no://where"], "--scheduler: no scheduler of Dask answers at 'no://where'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(evoprune, sphere, tmp_path, options, fragment):
    answer = evoprune("run", sphere, "--runs-dir", tmp_path / "runs", *options)
    assert answer.code == 2
    assert f"evoprune: {fragment}" in answer.err
    assert not (tmp_path / "runs").exists()


class OnCpu(Problem):
    found: tuple[str, ...] = ()

    @classmethod
    def devices(cls):
        return cls.found

    genes = Genes.real(["x"], 0.0, 1.0)

    def random_genome(self):
        return [0.0]

    def evaluate(self, genome):
        return Evaluation((0.0,))


class OnTwo(OnCpu):
    found = ("cuda:0", "cuda:1")


@pytest.fixture(autouse=True)
def six_cores(monkeypatch):
    monkeypatch.setattr("evoprune.backends.execution._cores", lambda: 6)


@pytest.mark.parametrize(
    ("given", "problem", "expected"),
    [
        ({}, OnCpu, ("serial", 1, None)),
        ({"workers": 3}, OnCpu, ("processes", 3, 2)),
        ({"workers": 1}, OnCpu, ("serial", 1, None)),
        ({"map": "processes"}, OnCpu, ("processes", 6, 1)),
        ({"map": "processes", "devices": ("cpu",), "threads": 4}, OnCpu, ("processes", 6, 4)),
        ({"workers": 12}, OnCpu, ("processes", 12, 1)),
        ({}, OnTwo, ("processes", 2, 3)),
        ({"map": "serial"}, OnTwo, ("serial", 1, None)),
        ({"devices": ("cpu",)}, OnTwo, ("serial", 1, None)),
        ({"workers": 4}, OnTwo, ("processes", 4, 1)),
    ],
)
def test_what_is_left_open_is_decided_by_devices_and_cores(given, problem, expected):
    decided = Execution(**given).decided(problem)
    assert (decided.map, decided.workers, decided.threads) == expected


@pytest.mark.parametrize(("device", "given"), [("cuda:1", {}), ("cpu", {}), ("cuda:1", {"workers": 2})])
def test_a_device_that_the_experiment_names_is_that_of_all_workers(device, given):
    decided = Execution(**given).decided(OnTwo, device)
    assert {*decided.places} == {device}
    assert decided.workers == given.get("workers", 1)


@pytest.mark.parametrize("map", [None, "processes", "scoop"])
def test_a_device_that_is_not_there_is_refused_unless_other_hosts_may_have_it(map, monkeypatch):
    monkeypatch.setattr(OnTwo, "has_device", lambda name: name in OnTwo.found)
    assert Execution(map, devices=("cuda:1",)).decided(OnTwo).devices == ("cuda:1",)
    with pytest.raises(InputError, match=r"--devices: .*cuda:9") if map != "scoop" else nullcontext():
        Execution(map, devices=("cuda:1", "cuda:9")).decided(OnTwo)
