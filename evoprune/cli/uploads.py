"""Uploads of exports to the Hugging Face hub."""

from glob import escape
from pathlib import Path

from evoprune.console.errors import InputError, Stopped, first_line
from evoprune.exports.exporting import CARD, EXPERIMENT, sidecar

_MORE = "evoprune.*"  # the facts, and other sidecar files of a problem


def refuse_unready(name: str) -> None:
    """Refuse a repository ``name`` that cannot be uploaded to."""
    import huggingface_hub  # slow to import
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"expected OWNER/NAME: {first_line(error)}", f"--push {name}") from None
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise InputError("HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it", "--push")
    if huggingface_hub.get_token() is None:
        raise InputError("needs a token that may write: run `hf auth login`, or set HF_TOKEN", "--push")


def push(out: Path, name: str) -> str:
    """Upload ``out`` and its sidecar files to the repository ``name``, created private if missing; return its URL."""
    from huggingface_hub import CommitOperationAdd, HfApi

    operations = [CommitOperationAdd(place, path) for place, path in _files(out).items()]
    api = HfApi(library_name="evoprune")
    try:
        repository = api.create_repo(name, private=True, exist_ok=True)
        api.create_commit(repository.repo_id, operations, commit_message="Upload a model that evoprune made")
    except Exception as error:  # of HTTP, of the network, of the hub's rules
        why = f"was not uploaded to {name}: {first_line(error)}"
        raise Stopped(f"{out} is written and whole, but {why}") from None
    return str(repository)


def _files(out: Path) -> dict[str, Path]:
    """Return the files of an export by their paths in the repository; the card of a file becomes that of all."""
    if out.is_dir():
        return {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
    files = [out, *(sidecar(out, name) for name in (EXPERIMENT, CARD))]
    files += sorted(out.parent.glob(f"{escape(out.stem)}.{_MORE}"))
    return {(CARD if path == sidecar(out, CARD) else path.name): path for path in files if path.exists()}
