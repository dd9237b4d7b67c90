"""Latency tables: measured layers and networks of one device."""
