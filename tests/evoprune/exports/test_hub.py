"""What is uploaded, as a server sees it that answers as the hub does; and what is refused before that."""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from evoprune.experiment.registry import HOME

UPLOAD = (
    "import sys; from pathlib import Path; from evoprune.exports.exporting import push;"
    " print(push(Path(sys.argv[1]), sys.argv[2]))"
)


@pytest.fixture
def hub():
    """Answers as the hub does; ``hub.files`` is what was committed, by path, ``hub.made`` the repository asked for."""

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else self._chunks()
            if server.refuses:
                return self._answer(403, {"error": "no right to write"})
            if self.path == "/api/repos/create":
                server.made = json.loads(body)
                return self._answer(200, {"url": f"{server.place}/me/model", "name": "me/model"})
            if "/preupload/" in self.path:
                paths = [file["path"] for file in json.loads(body)["files"]]
                files = [{"path": path, "uploadMode": "regular", "shouldIgnore": False, "oid": None} for path in paths]
                return self._answer(200, {"files": files})
            if "/commit/" in self.path:
                values = [line["value"] for line in map(json.loads, body.splitlines()) if line["key"] == "file"]
                server.files |= {value["path"]: base64.b64decode(value["content"]) for value in values}
                return self._answer(200, {"commitOid": "0" * 40, "commitUrl": f"{server.place}/me/model/commit/0"})
            return self._answer(200, {"errors": [], "warnings": []})  # validation of the card

        def _chunks(self):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _answer(self, code, value):
            text = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answering)
    server.place, server.files, server.made, server.refuses = f"http://127.0.0.1:{server.server_port}", {}, None, False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def upload(hub, out):
    environment = os.environ | {
        "HF_ENDPOINT": hub.place, "HF_TOKEN": "hf_x", "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(HOME),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", UPLOAD, str(out), "me/model"], env=environment, capture_output=True, text=True
    )


def test_a_folder_is_uploaded_whole_to_a_private_repository(hub, tmp_path):
    files = {"README.md": b"# card", "config.json": b"{}", "inner/weights.safetensors": bytes(range(256))}
    for name, content in files.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(content)
    done = upload(hub, tmp_path / "out")
    assert done.stdout.strip() == f"{hub.place}/me/model", done.stderr
    assert hub.files == files
    assert "private" in {hub.made.get("visibility"), hub.made.get("private") and "private"}  # newer clients, older ones


def test_of_a_file_those_about_it_are_uploaded_and_nothing_else(hub, tmp_path):
    for name in ("small.gguf", "small.README.md", "small.evoprune.json", "small.txt", "README.md", "smaller.gguf"):
        (tmp_path / name).write_text(name)
    upload(hub, tmp_path / "small.gguf")
    expected = {"small.gguf": b"small.gguf", "README.md": b"small.README.md"}
    assert hub.files == expected | {"small.evoprune.json": b"small.evoprune.json"}


def test_a_refusal_says_what_is_written_and_why_it_was_not_uploaded(hub, tmp_path):
    hub.refuses = True
    (tmp_path / "out").mkdir()
    done = upload(hub, tmp_path / "out")
    assert "is written and whole, but was not uploaded to me/model: " in done.stderr
    assert "403" in done.stderr


@pytest.mark.parametrize(
    ("name", "token", "fragment"),
    [
        ("a/b/c", "hf_x", "--push a/b/c: expected OWNER/NAME"),
        ("me/model", None, "--push: needs a token that may write"),
    ],
)
def test_what_cannot_be_uploaded_is_refused_before_the_export(evoprune, tmp_path, monkeypatch, name, token, fragment):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: token)
    answer = evoprune("export", tmp_path / "run", tmp_path / "out", "--push", name)
    assert answer.code == 2
    assert fragment in answer.err
