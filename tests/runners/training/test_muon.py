"""Muon's steps against the formula in float64, and which parameters take AdamW's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from runners.training.muon import Muon, is_matrix, last_matrix, orthogonalized


@pytest.mark.parametrize("shape", [(4, 4), (3, 12), (12, 3)])
def test_singular_vectors_stay_and_values_come_near_to_one(shape: tuple[int, int]) -> None:
    matrix = torch.tensor(np.random.default_rng(0).normal(size=shape))
    u, _, v = np.linalg.svd(matrix.numpy(), full_matrices=False)
    core = u.T @ orthogonalized(matrix).numpy() @ v.T
    values = np.diag(core)
    np.testing.assert_allclose(core, np.diag(values), atol=1e-9)
    assert (values > 0.6).all()
    assert (values < 1.3).all()


def test_float32_is_enough_where_singular_values_differ_by_ten_thousand() -> None:
    rng = np.random.default_rng(0)
    u, v = np.linalg.qr(rng.normal(size=(24, 24)))[0], np.linalg.qr(rng.normal(size=(90, 24)))[0]
    matrix = torch.tensor((u * np.logspace(0, -4, 24)) @ v.T)
    exact, found = orthogonalized(matrix), orthogonalized(matrix.float())
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-3)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 3)).double()


def groups(model: nn.Module) -> list[dict[str, object]]:
    matrices = [one for one in model.parameters() if one.ndim > 1]
    vectors = [one for one in model.parameters() if one.ndim <= 1]
    return [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]


def muon(model: nn.Module) -> Muon:
    return Muon(groups(model), classifier=last_matrix(list(model.parameters())))


def give_gradients(model: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    for one in model.parameters():
        one.grad = torch.randn_like(one)


def test_two_steps_of_a_kernel_are_those_of_the_formula() -> None:
    model = network()
    optimizer = muon(model)
    kernel = model[0].weight
    expected, momentum = kernel.detach().numpy().copy(), np.zeros(kernel.shape)
    for seed in range(2):
        give_gradients(model, seed)
        assert kernel.grad is not None
        gradient = kernel.grad.numpy().copy()
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        optimizer.step()
        momentum = 0.95 * momentum + 0.05 * gradient
        ahead = (0.05 * gradient + 0.95 * momentum).reshape(8, 27)
        u, s, v = np.linalg.svd(ahead / np.linalg.norm(ahead), full_matrices=False)
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        step = ((u * s) @ v).reshape(expected.shape)
        expected = expected * (1 - 0.01 * 0.1) - 0.01 * 0.2 * np.sqrt(27) * step
    np.testing.assert_allclose(kernel.detach().numpy(), expected, rtol=1e-5, atol=1e-8)


def test_what_is_no_matrix_and_the_classifier_take_the_steps_of_adamw() -> None:
    model, other = network(), network()
    own, reference = muon(model), torch.optim.AdamW(groups(other), fused=True)
    for seed in range(3):
        give_gradients(model, seed)
        give_gradients(other, seed)
        own.step()
        reference.step()
    same = [torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)]
    names = [name for name, _ in model.named_parameters()]
    assert [name for name, equal in zip(names, same, strict=True) if not equal] == ["0.weight", "3.weight"]


def test_a_parameter_without_a_gradient_stays(tmp_path: Path) -> None:
    model = network()
    give_gradients(model, 0)
    model[3].weight.grad = None
    before = model[3].weight.detach().clone()
    muon(model).step()
    assert torch.equal(model[3].weight, before)


def test_what_a_matrix_is() -> None:
    assert [
        is_matrix(torch.zeros(shape)) for shape in ((4, 2, 3, 3), (4, 2), (4, 1, 3, 3), (1, 4), (4,))
    ] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert last_matrix([nn.Parameter(torch.zeros(4, 1, 3, 3))]) is None
