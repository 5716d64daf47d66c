"""Pages, written as Markdown, and made from that as HTML that needs no network: text, tables, figures."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from matplotlib.figure import Figure

from evoprune import __version__
from evoprune.console.formatting import plain
from evoprune.errors import InputError, stopping_at_full_disks
from evoprune.figures import svg
from evoprune.files.json_files import write_text

# characters that begin or end markup anywhere; underscores within a word do not
_MARKUP = re.compile(r"[\\`*|<>\[\]&]|(?<![^\W_])_|_(?![^\W_])")
_MARKUP_AT_START = re.compile(r"^(\d*)([-+#=~]|[.)](?!\S))")
_NUMBER = re.compile(r"-?\d[\d,.]*([eE][-+]?\d+)?%?|-|nan|inf|infinite|")

_FULL, _BELOW, _EIGHTHS = "█", "░", ["", *"▏▎▍▌▋▊▉"]
_BAR = re.compile(f"[{_FULL}{_BELOW}{''.join(_EIGHTHS)}]+")
_LONGEST_BAR = 24


@dataclass(frozen=True)
class Drawing:
    """A figure: an image in HTML, or part of the page if ``inline``; in Markdown its ``words`` alone."""

    title: str
    svg: bytes
    words: str  # the caption, also for readers who cannot see the figure
    inline: bool = False


@dataclass(frozen=True)
class Details:
    """Parts that a page shows when asked for."""

    summary: str
    blocks: Sequence[Block]


Block = str | Drawing | Details  # a part of a page; a string is Markdown


def folded(blocks: Iterable[Block], head: str) -> Iterator[Block]:
    """Fold each section of ``blocks`` whose title stands after ``head``, the marks of a heading."""
    title, own = "", list[Block]()
    for block in [*blocks, head]:
        if isinstance(block, str) and block.split(" ")[0] == head:
            yield from [Details(title, own)] if title else own
            title, own = block.removeprefix(head).strip(), []
        else:
            own.append(block)


def drawing(title: str, figure: Figure, words: str) -> Drawing:
    """``figure`` as a part of a page."""
    return Drawing(title, svg(figure), words)


def text(value: Any) -> str:
    """``value`` as a line of Markdown that holds no markup."""
    return _MARKUP_AT_START.sub(r"\1\\\2", _cell(value))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; columns of numbers are aligned to the right, but for the first."""
    rows = list(rows)
    numbers = [all(_NUMBER.fullmatch(plain(row[place])) for row in rows) for place in range(len(head))]
    rule = ["--:" if right and place else "---" for place, right in enumerate(numbers)]
    lines = [map(_cell, head), rule, *(map(_cell, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def facts(values: Mapping[str, Any], explained: Mapping[str, str] | None = None) -> str:
    """A table of names and values, with a sentence that explains a value where there is one."""
    lines = ["| | |", "|---|---|"]
    for name, value in values.items():
        words = (explained or {}).get(name)
        lines.append(f"| {_cell(name)} | {_cell(value)}{f' *{_cell(words)}*' if words else ''} |")
    return "\n".join(lines)


def bars(values: Sequence[float]) -> list[str]:
    """A bar of characters for each of ``values``; the longest has the largest magnitude, paler ones are below 0."""
    largest = max(map(abs, values)) or 1.0
    found = []
    for value in values:
        whole, eighths = divmod(round(8 * _LONGEST_BAR * abs(value) / largest), 8)
        found.append(_FULL * whole + _EIGHTHS[eighths] if value >= 0 else _BELOW * max(1, whole))
    return found


def items(lines: Iterable[Any]) -> str:
    """A list."""
    return "\n".join(f"- {text(line)}" for line in lines)


def code(content: str) -> str:
    """``content`` as it is."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", content)), default=0))
    return f"{fence}\n{content.rstrip()}\n{fence}"


def write_page(title: str, blocks: Iterable[Block], out: Path, refresh: float | None = None) -> tuple[Path, Path]:
    """Write ``out`` (HTML), reloaded every ``refresh`` seconds, and Markdown beside it; return both paths."""
    blocks = [f"# {text(title)}", *blocks]
    reload = f'<meta http-equiv="refresh" content="{refresh}">\n' if refresh else ""
    page = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    body = "".join(map(to_html, blocks))
    texts = {
        _named(out, ".html"): page.substitute(title=escape(title), refresh=reload, body=body, version=__version__),
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
    """``out`` with ``suffix`` in the place of the other's; "gpt2-0.45" keeps its dot."""
    stem = out.stem if out.suffix in {".html", ".md"} else out.name
    if not stem or out.is_dir():
        raise InputError("is a folder; expected a file, such as report.html", f"--out {out}")
    return out.with_name(stem + suffix)


def _cell(value: Any) -> str:
    return _MARKUP.sub(r"\\\g<0>", " ".join(plain(value).split()))


def _markdown(block: Block) -> str:
    if isinstance(block, Drawing):
        return f"*{text(block.title)}*: {text(block.words)}"
    if isinstance(block, Details):
        inner = "\n\n".join(map(_markdown, block.blocks))
        return f"<details><summary>{text(block.summary)}</summary>\n\n{inner}\n\n</details>"
    return block


def to_html(block: Block) -> str:
    """``block`` as HTML; nothing in it is markup that was not made by this module."""
    if isinstance(block, Drawing):
        image = f"data:image/svg+xml;base64,{base64.b64encode(block.svg).decode()}"
        shown = block.svg.decode() if block.inline else f'<img src="{image}" alt="{escape(block.title)}">'
        return f"<figure>{shown}<figcaption>{escape(block.words)}</figcaption></figure>\n"
    if isinstance(block, Details):
        inner = "".join(map(to_html, block.blocks))
        return f"<details><summary>{escape(block.summary)}</summary>\n{inner}</details>\n"
    tokens = _PARSER.parse(block)
    _mark_rows(tokens)
    return str(_PARSER.renderer.render(tokens, _PARSER.options, {}))


_PARSER = MarkdownIt("commonmark", {"html": False}).enable("table")
_PARSER.disable(["image", "link", "autolink", "reference"])
_PARSER.add_render_rule("table_open", lambda *_: '<div class="wide" tabindex="0"><table>\n')
_PARSER.add_render_rule("table_close", lambda *_: "</table></div>\n")
_PARSER.add_render_rule("fence", lambda _, tokens, at, *__: f'<pre tabindex="0">{escape(tokens[at].content)}</pre>\n')


def _mark_rows(tokens: Sequence[Token]) -> None:
    """Say which cells are heads, number the rows for links, and mark bars, which are nothing to read aloud."""
    rows, first, in_body = 0, False, False
    for token, content in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type in {"tbody_open", "tbody_close"}:
            in_body = token.type == "tbody_open"
        elif token.type == "tr_open" and in_body:
            token.attrSet("id", f"row-{rows}")
            rows, first = rows + 1, True
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "td_open" and first:
            token.tag = "th"
            token.attrSet("scope", "row")
        elif token.type == "td_close" and first:
            token.tag, first = "th", False
        elif token.type == "td_open" and content and _BAR.fullmatch(content.content):
            token.attrJoin("class", "bar")
            token.attrSet("aria-hidden", "true")
