"""Asks a language model, at any endpoint that speaks the protocol of OpenAI's chat completions."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from evoprune import CachedFile

KEY = "EVOPRUNE_API_KEY"
"""The variable of the environment with the key that the endpoint wants, if it wants one."""

_MOST_BYTES = 2**20
"""Of a reply; what follows is not read."""

_KINDS = {"http": HTTPConnection, "https": HTTPSConnection}


class NoAnswer(Exception):
    """The endpoint gave none: it is not there, takes too long, or replies with something else."""


def ask(base_url: str, request: dict[str, Any], timeout: float) -> str:
    """The text that the endpoint ``base_url`` answers to ``request``, the body of a chat completion. Raises NoAnswer.

    An answer is kept in the cache under a hash of both, so that the same request is not sent again: a server may
    answer otherwise the next time. ``timeout``: seconds without a byte from the server.
    """
    body = json.dumps(request, sort_keys=True)
    name = hashlib.sha256(f"chat\n{base_url}\n{body}".encode()).hexdigest()
    try:
        file = CachedFile(name)
    except OSError:  # nothing can be kept here
        return _sent(base_url, body, timeout)
    try:
        with suppress(OSError, SafetensorError, KeyError):
            return _read(file.path)
        answer = _sent(base_url, body, timeout)
        with suppress(OSError, SafetensorError):
            file.make(partial(_write, answer, str(request.get("model"))))
        return answer
    finally:
        file.release()


def _sent(base_url: str, body: str, timeout: float) -> str:
    """Send ``body`` without following redirects, which could carry the key elsewhere."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(KEY):
        headers["Authorization"] = f"Bearer {key}"
    try:
        place = urlsplit(base_url)
        connection = _KINDS[place.scheme](place.netloc, timeout=timeout)
        try:
            connection.request("POST", f"{place.path.rstrip('/')}/chat/completions", body, headers)
            reply = connection.getresponse()
            text = reply.read(_MOST_BYTES)
        finally:
            connection.close()
        if reply.status != 200:
            raise NoAnswer(f"{base_url} replies with status {reply.status}")
        return str(json.loads(text)["choices"][0]["message"]["content"])
    except (OSError, HTTPException, ValueError, LookupError, TypeError, RecursionError) as error:
        raise NoAnswer(f"{base_url}: {type(error).__name__}: {error}") from None


def _read(path: Path) -> str:
    with safe_open(path, framework="numpy") as file:
        return str(file.metadata()["answer"])


def _write(answer: str, model: str, path: Path) -> None:
    save_file({}, path, {"what": "an answer of a language model", "model": model, "answer": answer})
