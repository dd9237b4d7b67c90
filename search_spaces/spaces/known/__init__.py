"""Published spaces as presets, each with its base network as an arch of it, one small file each."""

from __future__ import annotations

from search_spaces.spaces.known.caformer import CAFORMER
from search_spaces.spaces.known.convnext import CONVNEXT
from search_spaces.spaces.known.efficientformer import EFFICIENTFORMER
from search_spaces.spaces.known.efficientnet import EFFICIENTNET_B0, EFFICIENTNETV2_S
from search_spaces.spaces.known.hybrids import MAXVIT, MOAT
from search_spaces.spaces.known.mobilenetv2 import MOBILENETV2
from search_spaces.spaces.known.mobilenetv3 import MOBILENETV3
from search_spaces.spaces.known.nextvit import NEXTVIT
from search_spaces.spaces.known.poolformer import POOLFORMER
from search_spaces.spaces.known.published import Published as Published
from search_spaces.spaces.known.resnet import RESNET50D
from search_spaces.spaces.known.swin import SWIN
from search_spaces.spaces.known.unireplknet import UNIREPLKNET
from search_spaces.spaces.known.vit import VIT

KNOWN: dict[str, Published] = {
    "mobilenetv3": MOBILENETV3,
    "mobilenetv2": MOBILENETV2,
    "efficientnet-b0": EFFICIENTNET_B0,
    "efficientnetv2-s": EFFICIENTNETV2_S,
    "resnet50d": RESNET50D,
    "convnext-t": CONVNEXT,
    "unireplknet-t": UNIREPLKNET,
    "poolformer": POOLFORMER,
    "caformer": CAFORMER,
    "efficientformer-l1": EFFICIENTFORMER,
    "vit": VIT,
    "swin-t": SWIN,
    "maxvit-t": MAXVIT,
    "moat-0": MOAT,
    "nextvit-s": NEXTVIT,
}
