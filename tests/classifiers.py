"""Image classifiers that others wrote, tiny: transformers' classes with random weights, 10 classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import transformers
from torch import nn

_VIT = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 192,
    "image_size": 32,
    "patch_size": 8,
}
_SWIN = {"image_size": 64, "patch_size": 4, "embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4]}
_PYRAMID = {
    "num_encoder_blocks": 4,
    "depths": [1, 1, 1, 1],
    "hidden_sizes": [32, 32, 64, 64],
    "num_attention_heads": [1, 2, 4, 4],
    "mlp_ratios": [4, 4, 2, 2],
    "image_size": 64,
}
_VISION = {**_VIT, "projection_dim": 32}

CLASSIFIERS: Mapping[str, tuple[str, dict[str, Any], int]] = {
    "BEiT": ("Beit", {**_VIT, "use_relative_position_bias": True}, 32),
    "BiT": ("Bit", {"embedding_size": 32, "hidden_sizes": [64, 128], "depths": [1, 1], "num_groups": 8}, 32),
    "CLIP": ("CLIP", {"vision_config": _VISION}, 32),
    "ConvNeXt": ("ConvNext", {"hidden_sizes": [32, 64, 96], "depths": [1, 1, 1], "num_stages": 3}, 32),
    "ConvNeXtV2": ("ConvNextV2", {"hidden_sizes": [32, 64, 96], "depths": [1, 1, 1], "num_stages": 3}, 32),
    "CvT": (
        "Cvt",
        {"embed_dim": [32, 48, 64], "num_heads": [1, 3, 4], "depth": [1, 2, 3]},
        64,
    ),
    "Data2Vec": ("Data2VecVision", _VIT, 32),
    "DeiT": ("DeiT", _VIT, 32),
    "DINOv2": ("Dinov2", {**_VIT, "mlp_ratio": 4}, 32),
    "DINOv2, registers": ("Dinov2WithRegisters", {**_VIT, "num_register_tokens": 2}, 32),
    "DINOv2, SwiGLU": ("Dinov2", {**_VIT, "mlp_ratio": 4, "use_swiglu_ffn": True}, 32),
    "Donut's Swin": ("DonutSwin", {**_SWIN, "window_size": 4}, 64),
    "EfficientNet": (
        "EfficientNet",
        {
            "image_size": 64,
            "width_coefficient": 1.0,
            "depth_coefficient": 1.0,
            "num_block_repeats": [1, 1, 1, 1, 1, 1, 1],
            "hidden_dim": 1280,
        },
        64,
    ),
    "FocalNet": (
        "FocalNet",
        {
            "image_size": 32,
            "embed_dim": 32,
            "hidden_sizes": [32, 64],
            "depths": [1, 1],
            "focal_levels": [2, 2],
        },
        32,
    ),
    "HGNetV2": (
        "HGNetV2",
        {
            "stem_channels": [3, 16, 16],
            "stage_in_channels": [16, 32, 64, 96],
            "stage_mid_channels": [16, 16, 32, 32],
            "stage_out_channels": [32, 64, 96, 128],
            "stage_num_blocks": [1, 1, 1, 1],
            "stage_numb_of_layers": [2, 2, 2, 2],
            "hidden_sizes": [32, 64, 96, 128],
        },
        64,
    ),
    "Hiera": (
        "Hiera",
        {
            "embed_dim": 32,
            "image_size": [64, 64],
            "depths": [1, 1, 1],
            "num_heads": [1, 2, 4],
            "num_query_pool": 2,
            "masked_unit_size": [4, 4],
            "masked_unit_attention": [True, True, False],
        },
        64,
    ),
    "I-JEPA": ("IJepa", _VIT, 32),
    "LeViT": (
        "Levit",
        {
            "image_size": 64,
            "hidden_sizes": [32, 48, 64],
            "num_attention_heads": [2, 3, 4],
            "depths": [1, 1, 1],
            "key_dim": [8, 8, 8],
        },
        64,
    ),
    "MetaCLIP 2": ("MetaClip2", {"vision_config": _VISION}, 32),
    "MobileNetV1": ("MobileNetV1", {"image_size": 64, "depth_multiplier": 0.25}, 64),
    "MobileNetV2": ("MobileNetV2", {"image_size": 64, "depth_multiplier": 0.35}, 64),
    "MobileViT": (
        "MobileViT",
        {"image_size": 64, "hidden_sizes": [32, 48, 64], "neck_hidden_sizes": [16, 16, 32, 32, 48, 48, 128]},
        64,
    ),
    "MobileViTV2": (
        "MobileViTV2",
        {
            "image_size": 64,
            "n_attn_blocks": [1, 1, 1],
            "base_attn_unit_dims": [32, 48, 64],
            "width_multiplier": 0.5,
        },
        64,
    ),
    "PoolFormer": (
        "PoolFormer",
        {"depths": [1, 1, 1, 1], "hidden_sizes": [32, 32, 64, 64], "image_size": 64},
        64,
    ),
    "PP-LCNet": ("PPLCNet", {"scale": 0.5, "class_expand": 128}, 64),
    "PVT": ("Pvt", _PYRAMID, 64),
    "PVTv2": ("PvtV2", {**_PYRAMID, "image_size": [64, 64]}, 64),
    "RegNet": (
        "RegNet",
        {
            "embedding_size": 32,
            "hidden_sizes": [32, 64, 128, 128],
            "depths": [1, 1, 1, 1],
            "groups_width": 16,
        },
        64,
    ),
    "ResNet, basic": (
        "ResNet",
        {"embedding_size": 32, "hidden_sizes": [32, 64, 128], "depths": [1, 1, 1], "layer_type": "basic"},
        32,
    ),
    "ResNet, bottleneck": (
        "ResNet",
        {"embedding_size": 32, "hidden_sizes": [64, 128, 256], "depths": [1, 1, 1]},
        32,
    ),
    "SegFormer": ("Segformer", _PYRAMID, 64),
    "SigLIP": ("Siglip", {"vision_config": _VISION}, 32),
    "SwiftFormer": (
        "SwiftFormer",
        {"image_size": 64, "depths": [1, 1, 1, 1], "embed_dims": [32, 32, 64, 64], "mlp_ratio": 2},
        64,
    ),
    "Swin": ("Swin", {**_SWIN, "window_size": 4}, 64),
    "SwinV2": ("Swinv2", {**_SWIN, "window_size": 4}, 64),
    "TextNet": (
        "TextNet",
        {
            "image_size": [64, 64],
            "stem_out_channels": 32,
            "hidden_sizes": [32, 32, 64, 64, 96],
            "depths": [1, 2, 1, 1],
            "conv_layer_kernel_sizes": [[[3, 3]], [[3, 3], [1, 3]], [[3, 1]], [[3, 3]]],
            "conv_layer_strides": [[2], [2, 1], [2], [2]],
        },
        64,
    ),
    "ViT": ("ViT", _VIT, 32),
    "ViT-MSN": ("ViTMSN", _VIT, 32),
}
"""Class, settings and side of the images of each, by name."""


def classifier(name: str) -> nn.Module:
    """The network of a name, in eval mode; the same weights each time."""
    family, settings, side = CLASSIFIERS[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(num_labels=10, **settings)
    network: nn.Module = getattr(transformers, f"{family}ForImageClassification")(config)
    norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d | nn.BatchNorm1d)]
    if norms:  # with the statistics that norms begin with, deep networks give zeros
        for norm in norms:
            norm.momentum = None
        with torch.no_grad():
            network.train()(torch.randn(8, 3, side, side))
    return network.eval()
