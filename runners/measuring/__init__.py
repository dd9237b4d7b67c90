"""Clocks, locks and processes: how latencies are measured."""
