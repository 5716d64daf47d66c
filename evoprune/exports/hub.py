"""Uploads what an export wrote to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from evoprune.errors import InputError, Stopped
from evoprune.exports.exporting import CARD, EXPERIMENT, FACTS, about

_OPTION = "--push"


def refuse_unready(name: str) -> None:
    """Raise :class:`InputError` where nothing can be uploaded to the repository ``name``."""
    import huggingface_hub  # slow to import
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"expected OWNER/NAME: {str(error).splitlines()[0]}", f"{_OPTION} {name}") from None
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise InputError("HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it", _OPTION)
    if huggingface_hub.get_token() is None:
        raise InputError("needs a token that may write: run `hf auth login`, or set HF_TOKEN", _OPTION)


def push(out: Path, name: str) -> str:
    """Upload ``out``, a folder or one file and those about it, to the repository ``name``; return its address.

    A repository that does not exist is made, private. Raises :class:`evoprune.errors.Stopped` where the hub refuses or
    cannot be reached; ``out`` stays as it is.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    operations = [CommitOperationAdd(place, path) for place, path in _files(out).items()]
    api = HfApi(library_name="evoprune")
    try:
        made = api.create_repo(name, private=True, exist_ok=True)
        api.create_commit(made.repo_id, operations, commit_message="Upload a model that evoprune made")
    except Exception as error:  # of HTTP, of the network, of the hub's rules
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise Stopped(f"{out} is written and whole, but was not uploaded to {name}: {reason}") from None
    return str(made)


def _files(out: Path) -> dict[str, Path]:
    """The files of an export by their places in the repository, where the card of a single file is the card of all."""
    if out.is_dir():
        return {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
    beside = [out, *(about(out, name) for name in (FACTS, EXPERIMENT, CARD))]
    return {(CARD if path == about(out, CARD) else path.name): path for path in beside if path.exists()}
