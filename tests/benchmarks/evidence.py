"""Make files of several sizes by ``prune``, and llama.cpp's presets; score all in llama.cpp; draw them.

::

    python -m tests.benchmarks.evidence measure FOLDER MODEL.gguf --text TEXT --imatrix IMATRIX.gguf \\
        --judge prose=TEST.txt code=CODE.txt --sizes 66MB 80MB --time 5m --presets Q2_K Q4_K_M
    python -m tests.benchmarks.evidence table FOLDER...
    python -m tests.benchmarks.evidence draw PAGE.md SIZES.png

Presets have the importance of inputs in ``--imatrix``, which ``llama-imatrix`` writes, as does ``prune``. The texts to
judge by must be others than ``--text``. What FOLDER has is neither made nor scored again.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import psutil
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from evoprune.figures.style import COLOURS, GREY, STYLE
from evoprune.problems.language_model.gguf.llama import Llama
from evoprune.problems.language_model.gguf.recipe import read_importance
from evoprune.problems.language_model.gguf.runtime import quantise
from tests.benchmarks.common import head, row

WINDOW = 512
HEADING = "## At equal bytes"
OF_TEXT = ("divergence", "99%", "same top token", "bits a byte behind")
COLUMNS = ("model", "file of", "MB", *OF_TEXT, *(f"{each}, other text" for each in OF_TEXT), "s", "GB")
OURS = "evoprune"
_MARK = 5  # pixels from the middle of a mark to its sides
_SIDES = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)]  # of a mark, for its name
_ENDS = {-1: ("right", "top"), 0: ("center", "center"), 1: ("left", "bottom")}  # of a name, next to its mark
_TICKS = [base * 10.0**power for power in range(-4, 1) for base in (1, 2, 5)]

Json = dict[str, Any]
Floats = NDArray[np.float32]


class Judge:
    """Scores files against a source on a text, by llama.cpp's logits of both."""

    def __init__(self, source: Path, text: Path, most: int, scratch: Path) -> None:
        """Read ``most`` characters of ``text``, and keep the log probabilities of ``source`` in ``scratch``."""
        model, words = Llama(str(source), 1), text.read_text(encoding="utf-8")[:most]
        tokens = model.tokenise(words)
        self.windows = tokens[: len(tokens) // WINDOW * WINDOW].reshape(-1, WINDOW)
        self._bits = len(tokens) / len(words.encode()) / math.log(2)  # a byte, of a nat a token
        shape = len(self.windows), WINDOW - 1, model.width
        self._known = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.float32, shape=shape)
        for place, each in enumerate(self._log_probabilities(model)):
            self._known[place] = each

    def score(self, file: Path) -> Json:
        """The means of ``llama-perplexity --kl-divergence`` with standard errors, and bits a byte behind the source."""
        divergences, same, behind = [], [], []
        for ids, known, own in zip(
            self.windows, self._known, self._log_probabilities(Llama(str(file), 1)), strict=True
        ):
            divergences.append((np.exp(known) * (known - own)).sum(1, dtype=np.float64))
            same.append(known.argmax(1) == own.argmax(1))
            targets = np.arange(len(own)), ids[1:]
            behind.append(known[targets] - own[targets])
        each, lost = np.concatenate(divergences), np.concatenate(behind) * self._bits
        return {
            "divergence": float(each.mean()),
            "error": float(each.std()) / math.sqrt(len(each)),
            "p99": float(np.quantile(each, 0.99)),
            "same_top": float(np.concatenate(same).mean()),
            "behind": float(lost.mean()),
            "behind_error": float(lost.std()) / math.sqrt(len(lost)),
        }

    def _log_probabilities(self, model: Llama) -> Iterator[Floats]:
        """Of each window, float32 (window - 1, vocabulary)."""
        model.open_context(WINDOW)
        for ids in self.windows:
            model.truncate(0)
            logits = model.decode(ids, 0, every=True)[:-1].copy()
            logits -= logits.max(1, keepdims=True)
            logits -= np.log(np.exp(logits).sum(1, keepdims=True))
            yield logits


def pruned(options: argparse.Namespace, size: str, out: Path) -> Json:
    """Run ``prune`` for a file of ``size``; return its seconds, and the most anonymous memory, in GB."""
    command = [sys.executable, "-m", "evoprune", "prune", options.model, "--size", size, "--time", options.time]
    command += ["--text", str(options.text), "--out", str(out), "--seed", str(options.seed)]
    begun, peak = time.monotonic(), 0
    with out.with_suffix(".log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        own = psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.Error):
                held = [each.memory_info() for each in (own, *own.children(recursive=True))]
                peak = max(peak, sum(each.rss - each.shared for each in held))
            time.sleep(1)
    if process.returncode:
        raise SystemExit(f"see {log.name}")
    return {"seconds": round(time.monotonic() - begun), "memory": round(peak / 1e9, 1)}


def measure(options: argparse.Namespace) -> None:
    """Make and score what the folder lacks; a line of ``scores.jsonl`` for each file and text."""
    folder, source = options.folder, Path(options.model)
    folder.mkdir(parents=True, exist_ok=True)
    made = {path.name: json.loads(path.read_text()) for path in folder.glob("*.made")}
    files: dict[Path, str] = {}
    for size in options.sizes:
        files[out := folder / f"{size}-{options.time}.gguf"] = OURS
        if (note := f"{out.name}.made") not in made:
            made[note] = pruned(options, size, out)
            (folder / note).write_text(json.dumps(made[note]))
    for preset in options.presets:
        files[out := folder / f"{preset}.gguf"] = preset
        if not out.exists():
            importance = {name: torch.from_numpy(each) for name, each in read_importance(options.imatrix).items()}
            quantise(source, part := out.with_suffix(".part"), preset, importance)
            part.rename(out)
    files |= {path: path.stem for path in options.files}
    scores = folder / "scores.jsonl"
    known = {(each["file"], each["text"]) for each in lines(scores)}
    for name, text in (each.split("=") for each in options.judge):
        left = [path for path in files if (path.name, name) not in known]
        judge = Judge(source, Path(text), options.characters, folder / "source.npy") if left else None
        for path in left:
            assert judge
            found = {"model": options.name, "file": path.name, "name": files[path], "text": name, **judge.score(path)}
            found |= {"bytes": path.stat().st_size, **made.get(f"{path.name}.made", {})}
            with scores.open("a") as table:
                table.write(json.dumps(found) + "\n")
            print(found, flush=True)
    (folder / "source.npy").unlink(missing_ok=True)


def lines(path: Path) -> list[Json]:
    """The lines of a table, if it is there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(folders: Sequence[Path]) -> None:
    """Print the rows of :data:`COLUMNS`; the first text of a folder is of the kind that its files were made with."""
    print(head(*COLUMNS))
    for folder in folders:
        by_file: dict[str, list[Json]] = {}
        for line in lines(folder / "scores.jsonl"):
            by_file.setdefault(line["file"], []).append(line)
        for first, *others in sorted(by_file.values(), key=lambda texts: int(texts[0]["bytes"])):
            cells = [cell for each in (first, *others) for cell in _cells(each)]
            cells += [""] * (2 * len(OF_TEXT) - len(cells)) + [first.get("seconds", ""), first.get("memory", "")]
            print(row(first["model"], first["name"], f"{first['bytes'] / 1e6:.1f}", *cells))


def _cells(each: Json) -> list[str]:
    """The words of :data:`OF_TEXT`."""
    means = (
        f"{each[name]:.4f} ± {each[error]:.4f}" for name, error in (("divergence", "error"), ("behind", "behind_error"))
    )
    divergence, behind = means
    return [divergence, f"{each['p99']:.3f}", f"{each['same_top']:.1%}", behind]


class Point(NamedTuple):
    model: str
    name: str
    size: float
    divergence: float


def points(page: str) -> list[Point]:
    """Read the rows of the table under :data:`HEADING`, with the divergence on the first text."""
    found = []
    for line in page.partition(HEADING)[2].partition("\n## ")[0].splitlines():
        cells = [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        if len(cells) == len(COLUMNS) and cells[2].replace(".", "").isdigit():
            model, name, size, divergence, *_ = cells
            found.append(Point(model, name, float(size), float(divergence.split()[0])))
    return found


def draw(page: Path, out: Path) -> None:
    """Draw divergence against size, a panel a model: files of ``prune`` as a line, presets as squares."""
    found = [each for each in points(page.read_text(encoding="utf-8")) if re.match(f"{OURS}|I?Q[0-9]", each.name)]
    models = list(dict.fromkeys(each.model for each in found))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * len(models), 4.2), layout="constrained")
        for axes, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models, strict=True):
            _panel(axes, sorted((each for each in found if each.model == model), key=lambda each: each.size))
            axes.set(title=model, xlabel="MB")
        figure.axes[0].set_ylabel("divergence from the source, nats per token")
        figure.axes[0].legend(fontsize="small", loc="lower left")
        figure.draw_without_rendering()  # gives the panels their places
        for axes, model in zip(figure.axes, models, strict=True):
            _name(axes, [each for each in found if each.model == model])
        figure.savefig(out, dpi=150)


def _panel(axes: Axes, own: Sequence[Point]) -> None:
    ours = [each for each in own if each.name == OURS]
    presets = [each for each in own if each.name != OURS]
    for each, style, label, colour in (
        (presets, "s", "presets of llama.cpp", GREY),
        (ours, "o-", "evoprune prune", COLOURS[0]),
    ):
        axes.plot(
            [point.size for point in each], [point.divergence for point in each], style, color=colour, label=label
        )
    sizes, losses = [each.size for each in own], [each.divergence for each in own]
    spread = max(sizes) - min(sizes)
    axes.set(yscale="log", ylim=(min(losses) / 1.7, 2 * max(losses)))
    axes.set_xlim(min(sizes) - 0.08 * spread, max(sizes) + 0.3 * spread)
    ticks = [tick for tick in _TICKS if min(losses) / 1.7 <= tick <= 2 * max(losses)]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _name(axes: Axes, points: Sequence[Point]) -> None:
    """Name the presets among ``points``, each on the first side of its square where there is room."""
    named: dict[tuple[float, float], list[str]] = {}
    for point in points:
        named.setdefault((point.size, point.divergence), []).append(point.name)
    centres = {place: axes.transData.transform(place) for place in named}
    taken = [Bbox([centre - _MARK, centre + _MARK]) for centre in centres.values()]
    for place, names in named.items():
        if names == [OURS]:
            continue
        text = axes.annotate(", ".join(names), place, (0, 0), textcoords="offset points", fontsize=7, color=GREY)
        for across, up in _SIDES:
            text.set(position=(5 * across, 5 * up), ha=_ENDS[across][0], va=_ENDS[up][1])
            if not text.get_window_extent().count_overlaps(taken):
                break
        taken.append(text.get_window_extent())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    made = actions.add_parser("measure")
    made.add_argument("folder", type=Path)
    made.add_argument("model")
    made.add_argument("--name", required=True)
    made.add_argument("--text", required=True)
    made.add_argument("--imatrix", type=Path)
    made.add_argument("--judge", nargs="+", required=True)
    made.add_argument("--characters", type=int, default=8_000)
    made.add_argument("--sizes", nargs="*", default=[])
    made.add_argument("--time", default="5m")
    made.add_argument("--presets", nargs="*", default=[])
    made.add_argument("--files", nargs="*", type=Path, default=[])
    made.add_argument("--seed", type=int, default=0)
    actions.add_parser("table").add_argument("folders", type=Path, nargs="+")
    drawn = actions.add_parser("draw")
    drawn.add_argument("page", type=Path)
    drawn.add_argument("out", type=Path)
    options = parser.parse_args()
    if options.action == "measure":
        measure(options)
    elif options.action == "table":
        table(options.folders)
    else:
        draw(options.page, options.out)


if __name__ == "__main__":
    main()
