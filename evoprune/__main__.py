"""The file that ``python -m evoprune`` and ``python -m scoop evoprune/__main__.py`` start."""

import sys

from evoprune.backends import launch
from evoprune.cli import main

if __name__ == "__main__":
    if launch.running():
        launch.as_origin(main)
    elif code := main():
        sys.exit(code)
