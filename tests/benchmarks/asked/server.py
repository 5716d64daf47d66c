"""Serves a .gguf model as OpenAI's chat completions do, one request after another.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.asked.server MODEL.gguf --port 8080
"""

from __future__ import annotations

import argparse
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

from llama_cpp_py_sync import Llama

_CONTEXT = 2048
"""Tokens of a request and its answer."""


def _grammar(count: int) -> str:
    """The grammar of ``count`` percentages: the library itself makes none from a schema with a least and a most."""
    numbers = f'number (", " number){{{count - 1}}}'
    return f'root ::= "{{\\"genome\\": [" {numbers} "]}}"\nnumber ::= "100" | [1-9]? [0-9]'


class Handler(BaseHTTPRequestHandler):
    """Answers by ``model``."""

    model: Llama

    def do_POST(self) -> None:
        """Answer a chat completion as ``operators.written`` asks for it."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        given = {name: request[name] for name in ("temperature", "seed", "max_tokens")}
        genome = request["response_format"]["json_schema"]["schema"]["properties"]["genome"]
        given["grammar"] = _grammar(genome["minItems"])
        reply = json.dumps(
            self.model.create_chat_completion(request["messages"], repeat_penalty=1.0, cache_key="asked", **given)
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="the .gguf file")
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    Handler.model = Llama(options.model, n_ctx=_CONTEXT, n_batch=_CONTEXT, n_threads=1)
    HTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
