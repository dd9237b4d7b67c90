"""What a network was made of, as a CycloneDX bill of materials: packages, data, seed, recipe, machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

import numpy as np

from results.records import Card
from runners.data.splits import Split, Splits

BILL = "bom.cdx.json"


def fingerprint(split: Split) -> str:
    """SHA-256 of a split's images as they are stored, uint8 (N, C, H, W), and of its labels after them."""
    found = hashlib.sha256()
    for part in (split.images, split.labels):
        found.update(np.ascontiguousarray(part.numpy()).data)
    return found.hexdigest()


def bill(card: Card, splits: Splits) -> dict[str, Any]:
    """The bill of materials of a model, CycloneDX 1.6 as JSON."""
    origin = card.provenance
    known = {
        "seed": origin.seed,
        "command": origin.command,
        "commit": origin.commit,
        "recipe": json.dumps(origin.recipe, sort_keys=True),
        "arch": json.dumps(card.arch, sort_keys=True),
        "machine": f"{origin.machine.processor}, {origin.machine.system}",
        "runtime": card.latency.runtime,
        "profile": card.latency.profile,
    }
    model = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": card.name,
        "hashes": [{"alg": "SHA-256", "content": card.sha256}],
        "properties": [{"name": f"quarry:{name}", "value": str(value)} for name, value in known.items()],
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": origin.date, "component": model},
        "components": [
            *(_package(name, version) for name, version in origin.versions.items()),
            *(_data(name, getattr(splits, name)) for name in ("train", "val", "test")),
        ],
    }


def _package(name: str, version: str) -> dict[str, Any]:
    if name == "python":
        return {"type": "platform", "name": name, "version": version}
    package = "quarry-nas" if name == "quarry" else name
    purl = f"pkg:pypi/{package}@{quote(version, safe='.')}"
    return {"type": "library", "name": package, "version": version, "purl": purl}


def _data(name: str, split: Split) -> dict[str, Any]:
    return {
        "type": "data",
        "name": f"{name} images",
        "description": f"{len(split)} images as decoded, uint8 (N, C, H, W), and their labels after them",
        "hashes": [{"alg": "SHA-256", "content": fingerprint(split)}],
    }
