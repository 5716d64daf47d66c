"""The simulation refuses what a device refuses, and counts the work."""

import threading

import pytest
import torch

from tests.cuda.conftest import REAL
from tests.cuda.simulated import counts

pytestmark = pytest.mark.skipif(REAL, reason="of the simulation")
TWO = [torch.device("cuda:0"), torch.device("cuda:1")]


def test_tensors_of_different_devices_do_not_mix():
    on_cpu, first, second = torch.ones(3), *(torch.ones(3, device=device) for device in TWO)
    for other in (on_cpu, second):
        with pytest.raises(RuntimeError, match="same device"):
            first + other
    with pytest.raises(RuntimeError, match="same device"):
        on_cpu[torch.tensor([0], device="cuda")]
    with pytest.raises(TypeError):
        first.numpy()
    assert (first + on_cpu[0]).device == first[torch.tensor([0])].device == TWO[0]


def test_a_tensor_of_another_stream_is_read_only_after_waiting_for_it():
    second = torch.cuda.Stream(TWO[0])
    with torch.cuda.stream(second):
        copy = torch.ones(3).to(TWO[0], non_blocking=True)
        made = copy + 1
    for tensor in (copy, made, made[1:]):
        with pytest.raises(RuntimeError, match="waited"):
            tensor.sum()
    torch.cuda.current_stream(TWO[0]).wait_stream(second)
    assert [float(tensor.sum()) for tensor in (copy, made, made[1:])] == [3, 6, 4]


def test_threads_see_the_devices_and_have_streams_of_their_own():
    seen = []

    def work():
        torch.cuda.stream(torch.cuda.Stream(TWO[1])).__enter__()
        seen.append(torch.zeros(2).to(TWO[1]) * 2)

    (thread := threading.Thread(target=work)).start()
    thread.join()
    assert seen[0].device == TWO[1]
    with pytest.raises(RuntimeError, match="waited"):
        seen[0] + 1


def test_counts_are_of_work_on_the_device():
    values = torch.ones(8, 8)
    counts.clear()
    values @ values
    assert not counts
    there = values.to(TWO[0])
    assert counts == {"copies to": 1, "bytes to": 256, "synchronisations": 1}
    counts.clear()
    total = there.T.reshape(64).mul_(2).sum()  # a view costs nothing; this one has to be copied
    assert counts == {"launches": 3}
    assert bool(total > 1)
    assert counts == {"launches": 4, "copies from": 1, "bytes from": 1, "synchronisations": 1}


def test_modules_keep_their_parameters_and_gradients_on_the_device():
    layer = torch.nn.Linear(3, 3)
    weight = layer.weight
    layer.to(TWO[1])
    assert layer.weight is weight
    layer(torch.ones(2, 3, device=TWO[1])).sum().backward()
    assert weight.grad.device == weight.device == weight.data.device == TWO[1]
