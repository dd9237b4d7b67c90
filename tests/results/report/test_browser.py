"""The report in a real browser: no error on its console, every chart drawn, legible on phones and desks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from results.report import write_report
from tests.results.report.finished_run import write_finished_run

BROWSER = os.environ.get("BROWSER_BINARY") or next(
    filter(
        None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell"))
    ),
    "",
)
PROBE = """<script>addEventListener("load", () => setTimeout(() => {
  const plots = [...document.querySelectorAll(".plot")].map((place) => ({
    drawn: place.querySelectorAll(".main-svg .trace").length > 0,
    width: place.getBoundingClientRect().width,
    font: parseFloat(getComputedStyle(place.querySelector(".xtick text") ?? place).fontSize),
  }));
  document.documentElement.dataset.probe = JSON.stringify({
    page: document.documentElement.scrollWidth, window: innerWidth, plots,
  });
}, 500));</script>"""


@pytest.mark.skipif(not BROWSER, reason="no headless browser on this machine")
@pytest.mark.parametrize("width", [420, 1280])
def test_the_report_opens_without_errors_and_every_chart_is_drawn(tmp_path: Path, width: int) -> None:
    page = write_report(write_finished_run(tmp_path / "run"))
    page.write_text(page.read_text().replace("</body>", f"{PROBE}</body>"))
    frame = tmp_path / "frame.html"  # a window is never narrower than 500 pixels; a frame may be
    frame.write_text(
        f'<iframe id="f" src="run/report.html" style="width:{width}px;height:900px;border:0"></iframe>'
        "<script>setInterval(() => { document.body.dataset.probe = "
        "f.contentDocument?.documentElement?.dataset.probe ?? ''; }, 100)</script>"
    )
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *("--allow-file-access-from-files", "--virtual-time-budget=20000", "--window-size=1400,1000"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", frame.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert said == []
    (probe,) = re.findall(r'<body data-probe="([^"]+)"', done.stdout)
    found = json.loads(unescape(probe))
    assert found["window"] == width
    assert found["page"] <= width, "the page is wider than the window"
    assert len(found["plots"]) >= 5
    assert all(plot["drawn"] and plot["width"] > 0.6 * min(width, 500) for plot in found["plots"])
    assert min(plot["font"] for plot in found["plots"]) >= 11
