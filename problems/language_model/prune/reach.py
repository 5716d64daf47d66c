"""Refuses sizes that are met already or out of reach, by the headers of a model's files. Imports no torch."""

import re
import shlex

from evoprune import InputError
from evoprune.problems.language_model.prune.goals import Size
from evoprune.problems.language_model.prune.headers import Headers
from evoprune.problems.language_model.prune.interfaces import OUTPUTS, Output, plugins_of

SURE = 1.05  # margin of an estimated size
_IN_BLOCK = re.compile(r"\.\d+\.")


def refuse(goal: Size, headers: Headers, output: Output) -> None:
    """Raise InputError if the model is so small already, or nothing makes it so small."""
    if not headers.tensors:
        return
    weights, limit = headers.weights, goal.file_bytes(headers.weights)
    if headers.bytes <= limit:
        shown = goal.shown(headers.bytes, weights)
        raise InputError(f"is met already: {headers.settings.model} has {shown}", goal.option)
    others = [each for name, each in headers.matrices.items() if not _IN_BLOCK.search(name)]
    if sum(output.smallest(each, headers) for each in others) <= limit:
        return
    # files of types are smaller
    files = [output] if output.one_file else [of(output.model, output.asked) for of in plugins_of(OUTPUTS).values()]
    if not files or (lacking := files[0].missing()):
        raise InputError(f"is out of reach in 16 bits. {lacking if files else ''}".rstrip(), goal.option)
    least = SURE * files[0].least(headers)
    way = command(files[0], goal.option, goal.reached_by(least, weights))
    raise InputError(f"is out of reach; about {goal.shown(least, weights)} is not: {way}", goal.option)


def command(output: Output, option: str, value: str) -> str:
    """Return the command line that makes the file ``output``. ``value``: of ``option``, as people read it."""
    given = [option, re.sub("[, ]", "", value), *output.asked.texts, *output.arguments]
    return shlex.join(["python", "-m", "evoprune", "prune", output.model, *given, "--out", f"smaller.{output.suffix}"])
