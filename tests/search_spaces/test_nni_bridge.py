"""Spaces cross over to nni.mutable and back."""

import pytest

from search_spaces.nni_bridge import from_nni, to_nni
from search_spaces.spaces.presets import preset

mutable = pytest.importorskip("nni.mutable")


def test_a_space_crosses_over_and_back():
    space = preset("digits", classes=10, input_shape=(1, 8, 8))
    back = from_nni(to_nni(space))
    assert back.names == space.names
    assert [choice.values for choice in back.choices] == [choice.values for choice in space.choices]


def test_nnis_samples_are_archs():
    space = preset("digits", classes=10, input_shape=(1, 8, 8))
    sample = {}
    to_nni(space).robust_default(sample)
    assert set(space.to_arch(space.to_row(sample))) == set(space.names)


def test_a_space_written_for_nni_freezes_to_its_networks():
    written = mutable.MutableDict(
        {
            "width": mutable.Categorical([8, 16], label="width"),
            "kernel": mutable.Numerical(3, 7, quantize=2, label="kernel"),
            "rate": mutable.Numerical(0, 1, quantize=0.5, label="rate"),
        }
    )
    space = from_nni(written, name="theirs")
    assert {choice.name: choice.values for choice in space.choices} == {
        "width": (8, 16),
        "kernel": (4, 6),
        "rate": (0, 0.5, 1),
    }
    arch = {"width": 16, "kernel": 4, "rate": 0.5}
    assert space.build(arch) == arch


def test_numbers_in_any_order_become_sizes_that_ascend():
    """NNI's order means nothing; here the last size is the largest."""
    written = mutable.MutableDict(
        {
            "width": mutable.Categorical([32, 8, 16], label="width"),
            "on": mutable.Categorical([True, False], label="on"),
            "kind": mutable.Categorical(["z", "a"], label="kind"),
        }
    )
    space = from_nni(written)
    assert [choice.values for choice in space.choices] == [(8, 16, 32), (False, True), ("z", "a")]
    assert [choice.role for choice in space.choices] == ["size", "size", "category"]
    assert space.build({"width": 32, "on": True, "kind": "a"})["width"] == 32


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (lambda: mutable.Numerical(0, 1, label="a"), "'a' is continuous; give it quantize="),
        (lambda: mutable.Categorical([(1, 2), (3, 4)], label="a"), r"has the value \(1, 2\); only numbers"),
        (lambda: mutable.CategoricalMultiple([1, 2, 3], n_chosen=2, label="a"), "cannot be searched here"),
        (lambda: mutable.MutableDict({}), "holds no choices"),
    ],
)
def test_what_cannot_cross_is_told(part, told):
    with pytest.raises(ValueError, match=told):
        from_nni(part())
