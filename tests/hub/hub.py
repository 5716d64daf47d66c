"""A model hub on this machine, for HF_ENDPOINT: answers huggingface_hub and datasets, for downloads and uploads."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)")
_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/([^/]+)/[^/]+/?(.*))?")
_LARGE = (".safetensors", ".gguf")  # uploaded apart from the commit


class Hub(ThreadingHTTPServer):
    """Serves the repositories ``models/OWNER/NAME`` and ``datasets/OWNER/NAME`` of ``folder``, and takes new ones.

    ``gated``: repositories that are refused. ``broken``: files whose download breaks off halfway. ``private``: the
    repositories that were made private. ``asked``: the requests so far.
    """

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Answer)
        self.folder = folder
        self.gated, self.broken, self.private = set[str](), set[str](), set[str]()
        self.asked: list[str] = []
        self.uploads: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        self.server.asked.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if asked := _FILE.fullmatch(unquote(url.path)):
            kind, name, path = asked.groups()
            return self._file("datasets" if kind else "models", name, path)
        asked = _API.fullmatch(unquote(url.path))
        if asked is None or (folder := self._folder(asked[1], asked[2])) is None:
            return None if asked else self._say({}, 404)
        if asked[3] == "tree":
            found = (folder / asked[4]).glob("**/*" if "recursive=true" in url.query.lower() else "*")
            return self._say([_entry(path, folder) for path in sorted(found)])
        files = [{"rfilename": _entry(path, folder)["path"]} for path in sorted(folder.rglob("*")) if path.is_file()]
        return self._say({"id": asked[2], "sha": _commit(folder), "siblings": files, "private": False, "tags": []})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body, path = self._body(), unquote(urlsplit(self.path).path)
        if path == "/api/repos/create":
            new = json.loads(body)
            name = f"{new['organization']}/{new['name']}"
            if name in self.server.gated:
                return self._say({"error": "no right to write"}, 403)
            if (folder := self.server.folder / "models" / name).exists():
                return self._say({"url": f"{self.server.url}/{name}"}, 409)
            folder.mkdir(parents=True)
            self.server.private |= {name} if "private" in (new.get("visibility"), *new) else set()
            return self._say({"url": f"{self.server.url}/{name}"})
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            to = [{"upload": {"href": f"{self.server.url}/upload/{one['oid']}"}} for one in objects]
            return self._say({"objects": [one | {"actions": up} for one, up in zip(objects, to, strict=True)]})
        asked = _API.fullmatch(path)
        if asked is None or (folder := self._folder(asked[1], asked[2])) is None:
            return None if asked else self._say({})  # such as /api/validate-yaml
        if asked[3] == "paths-info":
            paths = [folder / path for path in parse_qs(body.decode())["paths"]]
            return self._say([_entry(path, folder) for path in paths if path.exists()])
        if asked[3] == "preupload":
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {name: "lfs" if name.endswith(_LARGE) else "regular" for name in names}
            return self._say({"files": [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()]})
        for line in map(json.loads, body.splitlines()):  # of a commit
            if line["key"] != "header":
                place, value = folder / line["value"]["path"], line["value"]
                place.parent.mkdir(parents=True, exist_ok=True)
                content = value.get("content")
                place.write_bytes(self.server.uploads[value["oid"]] if content is None else base64.b64decode(content))
        return self._say({"success": True, "commitUrl": f"{self.server.url}/{asked[2]}", "commitOid": _commit(folder)})

    def do_PUT(self) -> None:
        self.server.uploads[self.path.rpartition("/")[2]] = self._body()
        self._say({})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _folder(self, kind: str, name: str) -> Path | None:
        """The folder of a repository; None, and an answer, for one that is missing or gated."""
        if name in self.server.gated:
            return self._say({"error": "gated"}, 403, {"X-Error-Code": "GatedRepo"})
        folder = self.server.folder / kind / name
        return folder if folder.is_dir() else self._say({}, 404, {"X-Error-Code": "RepoNotFound"})

    def _file(self, kind: str, name: str, path: str) -> None:
        if (folder := self._folder(kind, name)) is None:
            return None
        headers, file = {"X-Repo-Commit": _commit(folder), "Accept-Ranges": "bytes"}, folder / path
        if not file.is_file():
            return self._say({}, 404, headers | {"X-Error-Code": "EntryNotFound"})
        content = file.read_bytes()
        begin = int(self.headers.get("Range", "bytes=0-")[len("bytes=") :].partition("-")[0])
        headers |= {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Linked-Size": str(len(content))}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        if path in self.server.broken and self.command == "GET":
            if begin:  # asked for the rest
                return self._say({}, 503, headers)
            self.close_connection = True
            return self._send(content[: len(content) // 2], 200, headers, len(content))
        return self._send(content[begin:], 206 if begin else 200, headers)

    def _say(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, (headers or {}) | {"Content-Type": "application/json"})

    def _send(self, content: bytes, status: int, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(length or len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _entry(path: Path, folder: Path) -> dict[str, Any]:
    facts = {"path": path.relative_to(folder).as_posix(), "oid": hashlib.sha1(str(path).encode()).hexdigest()}
    return facts | ({"type": "file", "size": path.stat().st_size} if path.is_file() else {"type": "directory"})


def _commit(folder: Path) -> str:
    """The revision of a repository, which names its files and their ages."""
    ages = [(str(path), path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))]
    return hashlib.sha1(repr(ages).encode()).hexdigest()
