"""Write the bundled GPT-2 as a .gguf file: ``python -m evoprune.problems.bundled.base OUT.gguf``."""

import argparse
from pathlib import Path

from evoprune.problems.gguf.base import find_base
from evoprune.problems.gguf.write import contents
from evoprune.problems.models.resident import Resident
from evoprune.problems.models.settings import ModelSettings


def main() -> None:
    """Parse the command line, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    resident = Resident.load(ModelSettings(device="cpu", dtype="float32"))
    contents(resident.model, find_base(resident), {}).write(out)


if __name__ == "__main__":
    main()
