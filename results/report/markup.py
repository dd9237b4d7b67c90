"""Small pieces of HTML. All text is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Html:
    """Text that is HTML already. Anything else that gets into the page is escaped."""

    text: str

    def __str__(self) -> str:
        return self.text


Piece = Html | str | float | int


def html(piece: Piece) -> str:
    """A piece as HTML: escaped unless it is HTML already."""
    return piece.text if isinstance(piece, Html) else escape(str(piece))


def join(pieces: Iterable[Piece]) -> Html:
    """Pieces one after another."""
    return Html("".join(html(piece) for piece in pieces))


def tag(name: str, *content: Piece, **attributes: str) -> Html:
    """An element; attribute names lose a trailing underscore and turn inner ones into dashes."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value
    )
    return Html(f"<{name}{written}>{join(content)}</{name}>")


def paragraph(*content: Piece, kind: str = "") -> Html:
    """A paragraph; ``kind`` is its class: note for asides, absent for what is not there, alarm."""
    return tag("p", *content, class_=kind)


def absent(text: str) -> Html:
    """A paragraph that says that a part of the run is not there."""
    return paragraph(text, kind="absent")


def table(head: Sequence[Piece], rows: Sequence[Sequence[Piece]], *, words: int = 1) -> Html:
    """A table whose first ``words`` columns are text and whose others are numbers, set to the right."""

    def cells(name: str, row: Sequence[Piece]) -> Html:
        marked = [tag(name, cell, class_="" if i < words else "number") for i, cell in enumerate(row)]
        return tag("tr", *marked)

    body = tag("tbody", *(cells("td", row) for row in rows))
    return tag("div", tag("table", tag("thead", cells("th", head)), body), class_="scroll")


def badge(*, good: bool, words: tuple[str, str] = ("met", "missed")) -> Html:
    """A verdict in the first word or the second."""
    return tag("span", words[0] if good else words[1], class_=f"badge {'yes' if good else 'no'}")


def facts(items: Iterable[tuple[str, Piece]]) -> Html:
    """Names and their values as a list of definitions."""
    pairs = (tag("div", tag("dt", name), tag("dd", value)) for name, value in items)
    return tag("dl", *pairs)


def legend(entries: Iterable[tuple[str, str, str]]) -> Html:
    """The key to a drawing: (mark, class, words); marks are dot, ring, diamond, line and band."""
    marks = {
        "dot": '<circle class="fill {0}" cx="9" cy="6" r="4"/>',
        "ring": '<circle class="ring {0}" cx="9" cy="6" r="4.5"/>',
        "diamond": '<path class="fill {0}" d="M9 1L14 6L9 11L4 6Z"/>',
        "line": '<path class="line {0}" d="M0 6H18"/>',
        "band": '<rect class="band {0}" x="0" y="1" width="18" height="10"/>',
    }
    items = [
        tag(
            "li",
            Html(
                f'<svg width="18" height="12" aria-hidden="true">{marks[mark].format(escape(series))}</svg>'
            ),
            words,
        )
        for mark, series, words in entries
    ]
    return tag("ul", *items, class_="legend")
