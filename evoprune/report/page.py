"""Pages of text, tables and figures, as Markdown and as HTML that needs no network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from string import Template

from markdown_it import MarkdownIt

from evoprune.console.errors import InputError, stopping_at_full_disks
from evoprune.console.markdown import table, text
from evoprune.console.version import __version__
from evoprune.files.json_files import write_text
from evoprune.interfaces.blocks import Block, Details, Drawing, Heatmap


def folded(blocks: Iterable[Block], head: str) -> Iterator[Block]:
    """Fold each section of ``blocks``. ``head``: the marks of the heading."""
    title, inner = "", list[Block]()
    for block in [*blocks, head]:
        if isinstance(block, str) and block.split(" ")[0] == head:
            yield from [Details(title, inner)] if title else inner
            title, inner = block.removeprefix(head).strip(), []
        else:
            inner.append(block)


def write_page(title: str, blocks: Iterable[Block], out: Path) -> tuple[Path, Path]:
    """Write ``out`` (HTML), and the same as Markdown next to it; return both paths."""
    blocks = [f"# {text(title)}", *blocks]
    page = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    body = "".join(map(to_html, blocks))
    texts = {
        _named(out, ".html"): page.substitute(title=escape(title), body=body, version=__version__),
        _named(out, ".md"): "\n\n".join(map(_markdown, blocks)) + "\n",
    }
    for path, content in texts.items():
        try:
            with stopping_at_full_disks(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_text(path, content)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", str(path)) from None
    html, markdown = texts
    return html, markdown


def _named(out: Path, suffix: str) -> Path:
    stem = out.stem if out.suffix in {".html", ".md"} else out.name  # "gpt2-0.45" keeps its dot
    if not stem or out.is_dir():
        raise InputError("is a folder; expected a file, such as report.html", f"--out {out}")
    return out.with_name(stem + suffix)


def _markdown(block: Block) -> str:
    if isinstance(block, Drawing):
        return f"*{text(block.title)}*: {text(block.words)}"
    if isinstance(block, Heatmap):
        rows = [[name, *(row.get(column, ("",))[0] for column in block.columns)] for name, row in block.rows.items()]
        rows += [[name, words, *[""] * (len(block.columns) - 1)] for name, (words, _) in block.whole.items()]
        return f"{table(['', *block.columns], rows)}\n\n{text(block.words)}"
    if isinstance(block, Details):
        inner = "\n\n".join(map(_markdown, block.blocks))
        return f"<details><summary>{text(block.summary)}</summary>\n\n{inner}\n\n</details>"
    return block


def to_html(block: Block) -> str:
    """Return ``block`` as HTML, with all foreign markup escaped."""
    if isinstance(block, Drawing):
        image = f"data:image/svg+xml;base64,{base64.b64encode(block.svg).decode()}"
        shown = f'<img src="{image}" alt="{escape(block.title)}">'
        return f"<figure>{shown}<figcaption>{escape(block.words)}</figcaption></figure>\n"
    if isinstance(block, Heatmap):
        return "".join(_heatmap(block))
    if isinstance(block, Details):
        inner = "".join(map(to_html, block.blocks))
        return f"<details><summary>{escape(block.summary)}</summary>\n{inner}</details>\n"
    return str(_PARSER.render(block))


def _heatmap(block: Heatmap) -> Iterator[str]:
    yield f'<figure><div class="wide" tabindex="0"><table class="map" aria-label="{escape(block.title)}">\n'
    head = "".join(f"<th><span>{escape(name)}</span></th>" for name in block.columns)
    yield f"<thead><tr><th></th>{head}</tr></thead>\n<tbody>\n"
    for name, (words, place) in block.whole.items():
        span = len(block.columns) + 1
        yield f'<tr><td colspan="{span}" style="{_colours(place)}">{escape(f"{name}: {words}")}</td></tr>\n'
    for name, row in block.rows.items():
        cells = (row.get(column) for column in block.columns)
        drawn = (f'<td style="{_colours(cell[1])}">{escape(cell[0])}</td>' if cell else "<td></td>" for cell in cells)
        yield f"<tr><th>{escape(name)}</th>{''.join(drawn)}</tr>\n"
    key = (f'<span class="key" style="{_colours(place)}">{escape(words)}</span>' for words, place in block.key.items())
    yield f"</tbody></table></div>\n<p>{' '.join(key)}</p><figcaption>{escape(block.words)}</figcaption></figure>\n"


_SCALE = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))  # viridis, readable by all
_LIGHT = 0.55  # place on the scale from which on words are black


def _colours(place: float) -> str:
    """Return the style of a cell at ``place`` on the scale, in [0, 1]: the colours of ground and words."""
    at, part = divmod(place * (len(_SCALE) - 1), 1)
    low, high = (_SCALE[min(int(at) + more, len(_SCALE) - 1)] for more in (0, 1))
    ground = ",".join(str(round(a + part * (b - a))) for a, b in zip(low, high, strict=True))
    return f"background:rgb({ground});color:{'#000' if place > _LIGHT else '#fff'}"


_PARSER = MarkdownIt("commonmark", {"html": False}).enable("table")
_PARSER.disable(["image", "link", "autolink", "reference"])
_PARSER.add_render_rule("table_open", lambda *_: '<div class="wide" tabindex="0"><table>\n')
_PARSER.add_render_rule("table_close", lambda *_: "</table></div>\n")
_PARSER.add_render_rule("fence", lambda _, tokens, at, *__: f'<pre tabindex="0">{escape(tokens[at].content)}</pre>\n')
