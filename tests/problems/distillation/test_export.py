"""The dense model of a folder is loaded as the options say."""

import json

import pytest

from problems.distillation.settings import RecoverOptions
from problems.language_model.recovery import _teacher
from tests.problems.small import random_model, save

CODE = """
from transformers import GPT2LMHeadModel

class Mine(GPT2LMHeadModel):
    pass
"""


@pytest.mark.parametrize("trust", [True, False])
def test_the_code_of_a_dense_model_runs_only_if_it_is_trusted(tmp_path, monkeypatch, trust):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    theirs = save(random_model("gpt2"), tmp_path / "theirs")
    (tmp_path / "theirs" / "mine.py").write_text(CODE)
    path = tmp_path / "theirs" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModelForCausalLM": "mine.Mine"}}))
    options = RecoverOptions(teacher=theirs, report_text="report.txt", trust_remote_code=trust)
    assert (type(_teacher(None, options, "float32").model).__name__ == "Mine") == trust
