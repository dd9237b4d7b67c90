"""Data sets of the hub, or of its cache on this machine, through the ``datasets`` library."""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING

from runners.data.raw import Raw, View
from runners.data.tables import read_tables, split_of

if TYPE_CHECKING:  # it takes a second to import; only runs that read with it pay
    from datasets import Dataset

_PATIENCE_SECONDS = 5.0


def read_hub(view: View, *, name: str, image_column: str = "", label_column: str = "") -> Raw:
    """A data set of the Hugging Face hub, or of its cache on this machine where the hub is out of reach.

    Args:
        view: size and channels to bring the images to.
        name: name of the data set, such as ``cifar10``.
        image_column: column of the images; empty finds the only one that holds images.
        label_column: column of the labels; empty finds ``label``, ``labels``, ``fine_label`` or ``class``.

    Raises:
        ValueError: it cannot be had, or has no images with labels.
    """
    import datasets

    reachable = _reachable()
    try:
        with contextlib.nullcontext() if reachable else _from_cache_only():
            found = datasets.load_dataset(name)
    except Exception as error:  # misspelled, gated, not in the cache: the library raises many kinds
        why = (
            f"({type(error).__name__}: {str(error).splitlines()[0]})"
            if reachable
            else "(the hub cannot be reached from here, and the data set is not in its cache on this machine)"
        )
        raise ValueError(
            f"data.source {name!r} is neither 'digits', nor a folder or parquet file that exists, nor a data "
            f"set that the hub gives {why}; files of your own are given with --set data.source=PATH"
        ) from error
    tables: dict[str, Dataset] = {}
    for split in sorted(found, key=len):  # ``test`` before ``test_extra``
        if split_of(split):
            tables.setdefault(split_of(split), found[split])
    if "train" not in tables:
        raise ValueError(f"data set {name!r} has no train split, only {', '.join(found)}")
    return read_tables(view, tables, name, image_column, label_column)


def _reachable() -> bool:
    """Whether the hub answers at all; the library itself would retry for half a minute."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return False
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS).close()
    except urllib.error.HTTPError:  # it answers, if only to say no
        return True
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _from_cache_only() -> Iterator[None]:
    """The offline mode of the two libraries, which they read from the environment when they are imported."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
