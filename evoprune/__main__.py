"""The file that ``python -m evoprune`` and ``python -m scoop evoprune/__main__.py`` start."""

import sys

from evoprune.cli import main

if __name__ == "__main__":
    code = main()
    if code:  # SCOOP's launcher runs this file too, and takes no sys.exit(0)
        sys.exit(code)
