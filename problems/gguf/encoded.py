"""A matrix in a type of GGUF. Imports no package of the extra ``gguf``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Encoded:
    """A matrix as a .gguf file holds it. ``kind``: GGUF's name of the type; ``data``: uint8 ``(out, bytes of a row)``.

    Rows are outputs, also where the layer stores its weight ``(in, out)``, in the order of the model's.
    """

    kind: str
    data: NDArray[np.uint8]
