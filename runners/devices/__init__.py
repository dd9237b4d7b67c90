"""Devices: hardware profiles, and the runtimes behind them that measure models."""
