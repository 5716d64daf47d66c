"""A real endpoint of chat completions, on this machine, that answers what a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Endpoint:
    """``answer`` makes the text of each answer from the request; ``status`` and ``reply`` replace what is sent."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], str] = lambda _: ""
        self.status, self.reply, self.location = 200, b"", ""
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.silent = False
        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        """Serve no more; it may be called again."""
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            endpoint.requests.append(request | {"path": self.path})
            endpoint.keys.append(self.headers["Authorization"])
            if endpoint.silent:
                endpoint.over.wait()
                return
            message = {"choices": [{"message": {"role": "assistant", "content": endpoint.answer(request)}}]}
            with suppress(OSError):  # nobody listens
                self.send_response(endpoint.status)
                if endpoint.location:
                    self.send_header("Location", endpoint.location)
                self.end_headers()
                self.wfile.write(endpoint.reply or json.dumps(message).encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler
