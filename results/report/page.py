"""The page as a whole."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from results.files import write_atomic
from results.report.auditing import auditing
from results.report.compression import compression
from results.report.given import given_front, given_result, left_alone
from results.report.headline import headline, subtitle, title
from results.report.latency import latency
from results.report.markup import Html, join, paragraph, tag
from results.report.mistakes import mistakes
from results.report.networks import networks
from results.report.origin import origin
from results.report.racing import racing
from results.report.searching import searching
from results.report.sources import Sources, read_run
from results.report.tradeoff import tradeoff
from results.report.training import training

Section = tuple[str, str, Callable[[Sources], Html]]
SECTIONS: tuple[Section, ...] = (
    ("result", "Result", headline),
    ("front", "Accuracy against latency", tradeoff),
    ("search", "Search", searching),
    ("latency", "Latency and accuracy models", latency),
    ("mistakes", "Mistakes", mistakes),
    ("compression", "Compression", compression),
    ("networks", "Networks", networks),
    ("training", "Training", training),
    ("audit", "Ranking", auditing),
    ("origin", "Provenance", origin),
)
GIVEN: tuple[Section, ...] = (
    ("result", "Result", given_result),
    ("front", "Accuracy against latency", given_front),
    ("compression", "Compression", compression),
    ("left", "Left as it was", left_alone),
    ("origin", "Provenance", origin),
)
"""Sections of a model that was given and is compressed."""
STAGES = ("measure", "train", "search", "compress", "export")


def write_report(folder: Path) -> Path:
    """Writes the report of a run, finished or not, from the records in its folder alone.

    Returns:
        The page, ``report.html`` in the folder: one file that needs nothing else.

    Raises:
        ValueError: the folder is not there.
        OSError: the page cannot be written.
    """
    path = folder / "report.html"
    write_atomic(path, page(read_run(folder)))
    return path


def sections_of(run: Sources) -> list[Section]:
    """The sections that a run has: a race in place of a search, nothing of a supernet that it did without."""
    if run.given is not None:
        return list(GIVEN)
    found: list[Section] = []
    for anchor, heading, show in SECTIONS:
        if anchor == "search" and run.scouted:
            found.append(("race", "The race", racing))
        elif not (run.alone and anchor in ("training", "audit")):
            found.append((anchor, heading, show))
    return found


def page(run: Sources) -> str:
    """The page of a run as HTML."""
    name = f"{title(run)} \u00b7 Quarry"
    shown = sections_of(run)
    sections = [
        tag("section", tag("h2", heading), _section(show, run, heading), id=anchor)
        for anchor, heading, show in shown
    ]
    contents = tag("nav", *(tag("a", heading, href=f"#{anchor}") for anchor, heading, _ in shown))
    header = tag(
        "header",
        tag("p", "Quarry run", class_="brand"),
        tag("h1", title(run)),
        tag("p", subtitle(run), class_="sub"),
        contents,
    )
    return document(name, join([header, _state(run), tag("main", *sections)]))


def document(name: str, body: Html) -> str:
    """A page that needs nothing else: the style and the code of the report around a body."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"{tag('title', name)}<style>{_asset('report.css')}</style></head>"
        f"<body>{body}<script>{_asset('plotly-basic.min.js')}\n{_asset('report.js')}</script></body></html>\n"
    )


def _asset(name: str) -> str:
    return (resources.files("results.report") / name).read_text()


def _section(show: Callable[[Sources], Html], run: Sources, heading: str) -> Html:
    """A section; numbers that cannot be drawn cost that section alone, and are said."""
    try:
        return show(run)
    except (ValueError, ArithmeticError) as error:
        return paragraph(
            f"{heading} cannot be shown: a number in the run's records makes no sense ({error}).",
            kind="alarm",
        )


def _state(run: Sources) -> Html:
    """Stages that are not finished, and files that could not be read."""
    parts = []
    stages = [stage for stage in STAGES if not (run.alone and stage == "train") and run.given is None]
    waiting = [stage for stage in stages if stage not in run.stages]
    if waiting:
        parts.append(
            paragraph(f"This run is not finished. Still to come: {', '.join(waiting)}.", kind="alarm")
        )
    if run.unreadable:
        items = (tag("li", words) for words in run.unreadable)
        parts.append(
            tag("div", paragraph("Not readable, and so not shown:"), tag("ul", *items), class_="alarm")
        )
    return join(parts)
