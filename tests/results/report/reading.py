"""The page of a report as a test reads it."""

import re
from html.parser import HTMLParser
from pathlib import Path

import results.report

LIBRARY = (Path(results.report.__file__).parent / "plotly-basic.min.js").read_text()
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Balance(HTMLParser):
    """Checks that elements are closed in order, and gathers text and addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.addresses, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, _):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def read(path):
    """The page, whose elements are closed in order, and its text with plain spaces."""
    page = Balance()
    page.feed(path.read_text())
    assert page.open == []
    return page, re.sub(r"\s+", " ", "".join(page.text).replace("\u00a0", " "))


def own(path):
    """The page without the library that draws its charts."""
    return path.read_text().replace(LIBRARY, "")
