"""Latency tables of a space on a target: measured, packed into kits, looked at, moved and checked."""
