"""The page is one file that needs nothing else, and what stands in it is what it seems."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import results.report
from results.files import append_line, read_json, read_lines, write_json
from results.report import write_report
from tests.results.report.reading import LIBRARY, own, read


def test_page_needs_nothing_else(run):
    page, _ = read(write_report(run))
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    source = (run / "report.html").read_text()
    assert source.count(LIBRARY) == 1
    assert not re.search(r"https?://|@import|url\(", source.replace(LIBRARY, ""))
    assert len(source) < 2_000_000


def test_drawings_are_well_formed(run):
    drawings = re.findall(r"<svg.*?</svg>", own(write_report(run)), flags=re.S)
    assert len(drawings) > 8
    for drawing in drawings:
        for element in ElementTree.fromstring(drawing).iter():
            assert "nan" not in " ".join(element.attrib.values())


def test_text_of_a_run_stays_text(run):
    evil = '<script>alert("&")</script>'
    write_json(run / "recipe.json", {"name": evil, "space": {"module": f"'{evil}"}})
    summary = read_json(run / "search" / "front.json")
    summary["front"][3]["searcher"] = evil
    summary["front"][3]["layers"][0]["kind"] = evil
    write_json(run / "search" / "front.json", summary)
    step = next(read_lines(run / "compress" / "steps.jsonl"))
    step |= {"network": evil, "step": evil, "kept": False, "reason": evil, "candidate": evil, "why": [evil]}
    append_line(run / "compress" / "steps.jsonl", step)
    page, text = read(write_report(run))
    assert page.tags.count("script") == 1
    assert evil in text


REPORT = sorted(Path(results.report.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("file", REPORT, ids=lambda file: file.stem)
def test_report_is_built_from_typed_records(file):
    """Neither untyped JSON nor Any gets into a module of the report; what reads a file reads a record."""
    tree = ast.parse(file.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert not names & {"Any", "Json", "object", "cast", "getattr"}
    readers = names & {"read_json", "read_lines"}
    assert not readers or file.stem == "sources"


def test_report_imports_nothing_heavy():
    code = (
        "import sys, results.report; "
        "sys.exit(bool({'torch', 'pandas', 'scipy', 'plotly', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
