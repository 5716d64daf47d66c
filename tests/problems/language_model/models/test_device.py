import threading

import pytest
import torch

from evoprune import InputError
from evoprune.problems.language_model.models.device import (
    ProcessFailed,
    environment,
    map_in_threads,
    pick_device,
    pick_dtype,
    run_python,
)


def test_a_pytorch_that_does_not_tell_of_the_processor_computes_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert pick_dtype("auto", torch.device("cpu")) == torch.bfloat16


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("xpu"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert pick_device("auto") == torch.device("xpu")
    assert pick_device("xpu:1") == torch.device("xpu:1")
    for absent in ("xpu:7", "cuda", "mps"):
        with pytest.raises(InputError, match=absent):
            pick_device(absent)


def test_results_are_in_order_and_each_thread_computes_alone(threads):
    together = threading.Barrier(threads, timeout=60)  # passed only if all run at once

    def alone(number):
        together.wait()
        return number, torch.get_num_threads()

    assert list(map_in_threads(alone, range(threads))) == [(number, 1) for number in range(threads)]
    assert torch.get_num_threads() == threads


def test_threads_compute_in_the_format_of_the_one_that_starts_them(threads):
    def product(_):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype

    with torch.autocast("cpu", torch.bfloat16):
        assert set(map_in_threads(product, range(threads))) == {torch.bfloat16}
    assert set(map_in_threads(product, range(threads))) == {torch.float32}


@pytest.mark.parametrize(("most", "used"), [(None, 3), (1, 3), (2, 1)])
def test_a_single_work_is_computed_alone_where_others_are(threads, most, used):
    assert list(map_in_threads(lambda _: torch.get_num_threads(), [0], most)) == [used]


def test_an_error_comes_through_and_leaves_the_number_of_threads(threads):
    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(lambda number: 1 / number, range(threads)))
    assert torch.get_num_threads() == threads


def test_a_process_finds_evoprune_anywhere_and_its_json_is_read(tmp_path):
    code = "import problems; print('{\"found\": 1}')"
    assert run_python("-c", code, cwd=tmp_path, env=environment()) == {"found": 1}


@pytest.mark.parametrize(
    ("code", "message"), [("raise ValueError('x')", "ValueError: x"), ("raise SystemExit(3)", "exit code 3")]
)
def test_a_failure_is_told_by_the_last_line_or_the_exit_code(code, message):
    with pytest.raises(ProcessFailed, match=f"^{message}$"):
        run_python("-c", code)
