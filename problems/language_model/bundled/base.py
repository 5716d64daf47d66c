"""Write the bundled GPT-2 as a .gguf file: ``python -m evoprune.problems.language_model.bundled.base OUT.gguf``."""

import argparse
from pathlib import Path

from evoprune.problems.language_model.gguf.base import find_base
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings


def main() -> None:
    """Parse the command line, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    resident = Resident.load(ModelSettings(device="cpu", dtype="float32"))
    contents(resident.model, find_base(resident), {}).write(out)


if __name__ == "__main__":
    main()
