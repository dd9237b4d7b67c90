"""Published spaces as presets, each with its base network as an arch of it, one small file each."""

from __future__ import annotations

from search_spaces.spaces.known.convnext import CONVNEXT
from search_spaces.spaces.known.mobilenetv2 import MOBILENETV2
from search_spaces.spaces.known.mobilenetv3 import MOBILENETV3
from search_spaces.spaces.known.poolformer import POOLFORMER
from search_spaces.spaces.known.published import Published as Published

KNOWN: dict[str, Published] = {
    "mobilenetv3": MOBILENETV3,
    "mobilenetv2": MOBILENETV2,
    "convnext-t": CONVNEXT,
    "poolformer": POOLFORMER,
}
