"""Zero-cost proxies: scores of networks that were not trained, and a sieve that orders candidates by them."""

from __future__ import annotations

from nas.proxies.gradients import grad_norm, snip
from nas.proxies.naswot import jacob_cov, naswot
from nas.proxies.proxy import PROXIES
from nas.proxies.sieve import ProxyChoice, Sieved, sieve
from nas.proxies.size import macs, params
from nas.proxies.synflow import synflow
from nas.proxies.zen import zen

__all__ = [
    "PROXIES",
    "ProxyChoice",
    "Sieved",
    "grad_norm",
    "jacob_cov",
    "macs",
    "naswot",
    "params",
    "sieve",
    "snip",
    "synflow",
    "zen",
]
