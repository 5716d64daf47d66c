"""Quiet downloads from the hub, whose errors fit one line. Imports no torch."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from logging import ERROR, getLogger

from evoprune.plugins import first_line

_LOGGERS = "transformers", "huggingface_hub", "datasets"
_BROKEN = {"RemoteProtocolError", "ReadError", "ReadTimeout"}  # classes of httpx, which the hub's package wraps


def reason_and_remedy(error: Exception) -> tuple[str, str]:
    """Return the first line of a library's ``error``, or of the error's cause, and the remedy."""
    reason, cause = first_line(error), error.__cause__ or error.__context__
    while cause:
        if type(cause).__name__ in _BROKEN:
            return f"the download broke off: {first_line(cause)}", "run the command again"
        cause = cause.__cause__ or cause.__context__
    if "gated" in reason:
        return reason, "ask for access on its page, then run `hf auth login` or set HF_TOKEN"
    return reason, "fill the hub's cache on a machine with network"


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the libraries' progress bars, hints and retries; errors are still raised."""
    loggers = [getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
