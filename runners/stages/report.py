"""Stage 6: the report, from the records alone."""

from __future__ import annotations

from results.report import write_report
from runners.run.job import Job


def run_report(job: Job) -> None:
    """Writes ``report.html``."""
    job.console.say(f"report: {write_report(job.path)}")
