"""Resolution and the side of patches as choices: sizes of maps, weights, costs, files and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from compress.onnx.export import onnx_bytes
from nas.supernet.prefix import check_prefix_rule
from nas.supernet.supernet import Supernet
from search_spaces.space import SearchSpace
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet
from search_spaces.spaces.maps import Maps, Resize
from search_spaces.spaces.metaformer import MetaFormer, Stage, metaformer
from search_spaces.spaces.presets import preset


def images(*shape: int) -> Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))


def tiny_vit(shape: tuple[int, int, int] = (3, 16, 16), resolutions: tuple[int, ...] = ()) -> SearchSpace:
    stage = Stage(
        widths=(8, 16),
        depths=(1, 2),
        mixers=("multi_head",),
        ratios=(2,),
        resolution_step=(2, 4),
        norms=("layer",),
        entries=("positioned_patch",),
        options={"multi_head": {"heads": (1, 2), "head_channels": 4}, "positioned_patch": {"side": 3}},
    )
    net = MetaFormer(stages=(stage,), resolutions=resolutions, hidden_width=6)
    return metaformer("tiny vit", net, classes=4, input_shape=shape)


def tiny_conv(shape: tuple[int, int, int], resolutions: tuple[int, ...] = ()) -> SearchSpace:
    stages = (
        ConvStage(widths=(8, 16), depths=(1,), blocks=("residual", "depthwise"), stride=1),
        ConvStage(widths=(16,), depths=(1, 2), blocks=("bottleneck",)),
    )
    net = ConvNet(stages=stages, resolutions=resolutions, stem="deep", stem_strides=(1, 2))
    return convnet("tiny", net, classes=4, input_shape=shape)


def between(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear interpolation, pixel by pixel; pixels are squares whose middles hold their values."""
    y = torch.empty(*x.shape[:2], height, width, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            total = torch.zeros(x.shape[:2], dtype=x.dtype)
            for row in range(x.shape[2]):
                for column in range(x.shape[3]):
                    down = min(max((i + 0.5) * x.shape[2] / height - 0.5, 0), x.shape[2] - 1)
                    along = min(max((j + 0.5) * x.shape[3] / width - 0.5, 0), x.shape[3] - 1)
                    near = max(0.0, 1 - abs(down - row)) * max(0.0, 1 - abs(along - column))
                    total += near * x[:, :, row, column]
            y[:, :, i, j] = total
    return y


def test_half_the_side_is_the_mean_of_squares_and_no_pixel_is_passed_over() -> None:
    x = images(1, 6, 10).double()
    half = Resize(squares="2x2", height=3, width=5)(x)
    expected = torch.stack([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]).mean(dim=0)
    torch.testing.assert_close(half, expected)
    layer = tiny_conv((1, 15, 21), (5, 15)).lower({**smallest(tiny_conv((1, 15, 21), (5, 15)))})[0]
    assert dict(layer.sizes) == {"squares": "3x3", "height": 5, "width": 7}


def test_the_rest_is_bilinear() -> None:
    x = images(2, 5, 7).double()
    torch.testing.assert_close(Resize(squares="1x1", height=4, width=6)(x), between(x, 4, 6))


def smallest(space: SearchSpace) -> dict[str, int | float | str | bool]:
    return space.to_arch([0] * len(space.choices))


@pytest.mark.parametrize("make", [tiny_vit, tiny_conv])
def test_the_rest_of_a_network_is_that_of_images_of_this_size(make: Callable[..., SearchSpace]) -> None:
    whole, small = make((3, 16, 24), (8, 16)), make((3, 8, 12))
    rng = np.random.default_rng(0)
    for row in whole.sample(12, rng):
        arch = whole.to_arch(row)
        layers = whole.lower(arch)
        if arch.pop("resolution") == 16:
            expected = make((3, 16, 24)).lower(arch)
        else:
            assert (layers[0].name, layers[0].input_shape) == ("resolution", (3, 16, 24))
            layers, expected = layers[1:], small.lower(arch)
        assert [(one.name, one.key) for one in layers] == [(one.name, one.key) for one in expected]
    assert [one.key for one in whole.layers if one.kind == "resize"] == [
        "resize(height=8,squares=2x2,width=12)@3x16x24"
    ]


def test_one_resolution_is_no_choice_but_is_kept() -> None:
    space = preset("fast-8", classes=3, input_shape=(1, 12, 12), resolutions=(8,))
    assert "resolution" not in space.names
    assert space.lower(space.smallest())[0].output_shape == (1, 8, 8)
    assert space.input_shape({}) == (1, 12, 12)


def test_sides_of_one_pixel_stay() -> None:
    assert Maps.of_images((1, 1, 64), (16, 32)).after(2).at({"resolution": 32}) == (1, 16)


def test_patches_of_each_side_have_an_embedding_of_their_own_and_share_the_rest() -> None:
    space = tiny_vit(resolutions=(12, 16))
    supernet = Supernet(space)
    names = {name.split(".")[0] for name in supernet.index}
    assert {"stage0_entry_positioned_patch_2", "stage0_entry_positioned_patch_4"} <= names
    arch = space.smallest()
    for stride in (2, 4):
        network = supernet.subnet({**arch, "stage0.stride": stride})
        assert network.get_submodule(f"stage0_entry_positioned_patch_{stride}") is not None
        assert network.eval()(images(3, 16, 16)).shape == (2, 4)
    assert check_prefix_rule(space, networks=1) > 2


def test_more_pixels_and_smaller_patches_cost_more() -> None:
    space = tiny_vit(resolutions=(8, 16))
    largest = space.largest()
    assert (largest["resolution"], largest["stage0.stride"]) == (16, 2)
    rows = np.stack([space.to_row({**largest, "resolution": side}) for side in (8, 16)])
    small, large = space.sum_over_layers(rows, space.layer_macs)
    assert large > 3.5 * small


def test_a_file_takes_whole_images_and_resizes_them_itself(tmp_path: Path) -> None:
    space = tiny_vit((3, 20, 16), (12, 16))
    torch.manual_seed(0)
    network = space.build({**space.largest(), "resolution": 12}).eval()
    x = images(3, 20, 16)
    path = tmp_path / "it.onnx"
    path.write_bytes(onnx_bytes(network, (3, 20, 16)))
    (found,) = onnxruntime.InferenceSession(path).run(None, {"images": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, network(x).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"resolutions": (4, 16)}, "resolutions: 16 is above the 8 pixels"),
        ({"resolutions": (8, 4)}, "resolutions: .* ascend"),
        ({"resolutions": (0, 4)}, "resolutions: .* ascend"),
        ({"resolutions": (1, 8)}, "resized to 1 pixels, has nothing left at stage ."),
        ({"strides": (4, 16)}, "nothing left at stage ."),
        ({"strides": (0, 2)}, "strides must be positive"),
        ({"strides": (2, 2)}, "strides must be positive, ascending"),
    ],
)
@pytest.mark.parametrize("name", ["digits", "fast-8"])
def test_sizes_that_do_not_go_with_the_images_are_named(
    name: str, given: dict[str, tuple[int, ...]], said: str
) -> None:
    if name == "fast-8":
        said = said.replace("at stage .", "at (stage .|the stem)").replace(
            "strides must", "stem_strides must"
        )
        said = said.replace("positive", "1 or more") if "stem_strides" in said else said
    with pytest.raises(ValueError, match=said):
        preset(name, classes=10, input_shape=(1, 8, 8), **given)  # type: ignore[arg-type]
