"""Memory that llama.cpp takes, predicted and measured: ``python -m tests.benchmarks.fits FILE:CONTEXT ...``.

Measured: the peak of a process that loads the file and reads 1,024 tokens, once for the logits of all of them, which
fill all buffers, and once for those of the last, as in generating. Each in a process of its own; in MB.
"""

import json
import subprocess
import sys
from pathlib import Path

from gguf import GGUFReader

from evoprune.problems.language_model.gguf import llama
from tests.benchmarks.common import head, row

_READ = """
import sys
import numpy as np
from evoprune.problems.language_model.gguf import llama
before = llama.peak_bytes()
model = llama.Llama(sys.argv[1], 1)
model.begin(int(sys.argv[2]))
for first in (0, 512):
    model.read(np.arange(first, first + 512, dtype=np.int32), first, every=sys.argv[3] == "all")
print(llama.peak_bytes() - before)
"""


def main(cases: list[str]) -> None:
    """Print the table."""
    print(head("file", "context", "predicted", "all logits", "last logits"))
    for case in cases:
        file, context = case.rsplit(":", 1)
        found = json.loads(_run(llama.__file__, json.dumps({"file": file, "context": int(context), "kv": "f16"})))
        predicted = sum(found[name] for name in ("weights", "cache", "buffers", "process"))
        every, last = (int(_run("-c", _READ, file, context, which)) for which in ("all", "last"))
        every -= 4 * 512 * len(GGUFReader(file).fields["tokenizer.ggml.tokens"].data)  # the logits themselves
        print(row(Path(file).name, context, *(f"{each / 1e6:.0f}" for each in (predicted, every, last))), flush=True)


def _run(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main(sys.argv[1:])
