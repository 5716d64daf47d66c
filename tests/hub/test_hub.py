"""The commands on a hub: runs, from it and from its cache; refusals; broken downloads; uploads."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pyarrow
import pytest
from pyarrow import parquet

from evoprune import InputError, Stopped
from evoprune.cli.export import push, refuse_unready
from evoprune.problems.language_model.models.weight_files import BUNDLED_WEIGHTS
from evoprune.problems.language_model.texts.source import paragraphs, python_docs
from tests.hub.hub import Hub
from tests.runs import lines

pytestmark = pytest.mark.slow
MODEL, TEXT, SUBSET = "openai-community/gpt2", "Salesforce/wikitext", "wikitext-2-raw-v1"
WEIGHTS, ROWS = "model.safetensors", f"{SUBSET}/validation-00000-of-00001.parquet"
CARD = f"""\
---
configs:
- config_name: {SUBSET}
  data_files:
  - {{split: validation, path: {SUBSET}/validation-*}}
  - {{split: test, path: {SUBSET}/test-*}}
---
"""
SMALL = ("population=4", "generations=1", "problem.curve=[]", "problem.held_out_windows=1",
         "problem.search_text.windows=1",
         "problem.report_text.windows=1", "problem.search_text.window=64", "problem.report_text.window=64")  # fmt: skip
COMMANDS = """
import json, sys
import datasets, huggingface_hub
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from evoprune.cli import main
from evoprune.problems.language_model.export import runtime
runtime._SECONDS, runtime._in_fresh_process = 0.0, lambda _, job, __: runtime.main(job)
for line in sys.stdin:
    offline, *arguments = json.loads(line)
    datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = offline
    with redirect_stderr(StringIO()) as errors, redirect_stdout(StringIO()):
        code = main(arguments)
    print(json.dumps([code, errors.getvalue().splitlines()]), flush=True)
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub with three models of GPT-2's structure and three texts with WikiText's subsets and splits."""
    folder = tmp_path_factory.mktemp("hub")
    for name in (MODEL, "me/closed", "me/broken"):
        shutil.copytree(BUNDLED_WEIGHTS, folder / "models" / name)
    for name in (TEXT, "me/closed", "me/broken"):
        text = folder / "datasets" / name
        (text / SUBSET).mkdir(parents=True)
        (text / "README.md").write_text(CARD)
        for split in ("validation", "test"):
            rows = pyarrow.table({"text": paragraphs(python_docs(split))[:300]})
            parquet.write_table(rows, text / SUBSET / f"{split}-00000-of-00001.parquet")
    with Hub(folder) as served:
        served.gated.add("me/closed")
        Thread(target=served.serve_forever, daemon=True).start()
        yield served
        served.shutdown()


@pytest.fixture(scope="module")
def evoprune(hub, tmp_path_factory):
    """Calls the command line, in one process as importing takes longer than a run: exit code, lines of messages.

    It uses the hub and a cache that is empty at first; Xet would upload to servers of its own.
    """
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path_factory.mktemp("home")), "HF_TOKEN": "hf_x"}
    variables = os.environ | own | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    command, pipe = [sys.executable, "-c", COMMANDS], subprocess.PIPE
    with subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe, text=True) as process:

        def call(*arguments, offline=False):
            print(json.dumps([offline, *map(str, arguments)]), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        yield call


def experiment(folder, *settings):
    options = [option for setting in (*SMALL, *settings) for option in ("--set", setting)]
    return ["run", "problems/gpt2_layerwise.yaml", "--runs-dir", folder.parent, "--name", folder.name, *options]


@pytest.fixture(scope="module")
def done(evoprune, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    code, messages = evoprune(*experiment(folder))
    assert code == 0, messages
    return folder


def test_a_run_from_the_cache_is_that_from_the_hub(hub, evoprune, done, tmp_path):
    hub.asked.clear()
    code, messages = evoprune(*experiment(tmp_path / "again"), offline=True)
    assert code == 0, messages
    assert lines(tmp_path / "again") == lines(done)
    assert not hub.asked
    assert not any("Salesforce" in line for line in messages)  # the messages of libraries


def test_an_export_is_uploaded_and_loads_from_there(hub, evoprune, done, tmp_path):
    code, messages = evoprune("export", done, tmp_path / "pruned", "--push", "me/pruned")
    assert code == 0, messages
    uploaded = hub.folder / "models/me/pruned"
    files = {path.relative_to(uploaded): path.read_bytes() for path in uploaded.rglob("*") if path.is_file()}
    assert files == {path: (tmp_path / "pruned" / path).read_bytes() for path in files}
    assert {"config.json", "evoprune.json", WEIGHTS} <= {*map(str, files)}
    assert f"base_model: {MODEL}" in files[Path("README.md")].decode()
    assert "me/pruned" in hub.private
    assert evoprune("eval", "me/pruned", "--window", 64, "--windows", 1)[0] == 0


@pytest.fixture
def reached(hub, monkeypatch):
    """This process reaches the hub."""
    constants = {"ENDPOINT": hub.url, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}
    for name, value in constants.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)


def test_of_a_file_those_about_it_are_uploaded_and_nothing_else(hub, reached, tmp_path):
    for name in ("small.gguf", "small.README.md", "small.evoprune.json", "small.txt", "README.md", "smaller.gguf"):
        (tmp_path / name).write_text(name)
    push(tmp_path / "small.gguf", "me/file")
    push(tmp_path / "small.gguf", "me/file")  # where it is already
    found = {path.name: path.read_text() for path in (hub.folder / "models/me/file").iterdir()}
    expected = {"small.gguf": "small.gguf", "README.md": "small.README.md"}
    assert found == expected | {"small.evoprune.json": "small.evoprune.json"}


def test_a_refused_upload_stops_with_its_reason(reached, tmp_path):
    (tmp_path / "README.md").touch()
    with pytest.raises(Stopped, match=r"me/closed: .*403"):
        push(tmp_path, "me/closed")


@pytest.mark.parametrize(("name", "token"), [("a/b/c", "hf_x"), ("me/model", None)])
def test_an_impossible_upload_is_refused(reached, monkeypatch, name, token):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: token)
    with pytest.raises(InputError, match="--push"):
        refuse_unready(name)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("problem.model", "me/closed", "HF_TOKEN"),
        ("problem.model", "me/missing", "me/missing"),
        ("problem.search_text.source", "me/closed", "HF_TOKEN"),
        ("problem.search_text.source", "me/missing", "me/missing"),
        ("problem.report_text.subset", "missing", SUBSET),
    ],
)
def test_a_refusal_is_one_line_with_the_key(evoprune, done, tmp_path, key, value, said):
    code, messages = evoprune(*experiment(tmp_path / "run", f"{key}={value}"))
    assert (code, (tmp_path / "run").exists()) == (2, False)
    assert key.startswith(messages[-1].split(": ")[1])
    assert said in messages[-1]
    assert not any(value in line for line in messages[:-1])


@pytest.mark.parametrize(
    ("key", "file"), [("problem.model", WEIGHTS), ("problem.search_text.source", ROWS)], ids=["model", "text"]
)
def test_a_download_that_breaks_off_is_refused_and_the_next_one_succeeds(hub, evoprune, done, tmp_path, key, file):
    hub.broken.add(file)
    command = experiment(tmp_path / "run", f"{key}=me/broken")
    code, messages = evoprune(*command)
    assert (code, (tmp_path / "run").exists()) == (2, False)
    assert key.startswith(messages[-1].split(": ")[1])
    assert "again" in messages[-1]
    assert not any("me/broken" in line for line in messages[:-1])
    hub.broken.clear()
    code, messages = evoprune(*command)
    assert code == 0, messages
    assert lines(tmp_path / "run") == lines(done)
