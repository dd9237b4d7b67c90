"""The report of a run: one HTML page that needs nothing else, made from the run's records alone."""

from results.report.page import write_report

__all__ = ["write_report"]
