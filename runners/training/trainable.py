"""What the training loop can train: the shared weights of a supernet, or one plain network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from compress.plain import faithful_copy
from nas.distillation import Teaching
from nas.rules.moment import Size
from nas.supernet.supernet import Supernet
from nas.supernet.weights import GROUPS, group_of
from search_spaces.space import Arch, SearchSpace

M = TypeVar("M", covariant=True)


class Trainable(Protocol[M]):
    """Networks by arch, and the parameters behind them."""

    @property
    def model(self) -> M:
        """What is trained."""
        ...

    @property
    def space(self) -> SearchSpace:
        """The archs that a training rule may ask for."""
        ...

    @property
    def size(self) -> Size | None:
        """How big archs are, for rules that draw by size; None lets them draw every choice uniformly."""
        ...

    @property
    def device(self) -> torch.device:
        """The device of parameters and gradients."""
        ...

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """What the optimizer updates, by name."""
        ...

    def optimizer_groups(self, weight_decay: float) -> list[dict[str, object]]:
        """The parameters in groups for ``torch.optim``, with and without weight decay."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """All that a training changes, by name: what a checkpoint holds. The tensors themselves."""
        ...

    def identity(self) -> str:
        """What tells these weights, before the first step, from others; empty where the seed does."""
        ...

    def subnet(self, arch: Arch) -> nn.Module:
        """The network of an arch in training mode; its backward pass adds to the gradients."""
        ...

    def gradients(self) -> list[Tensor]:
        """What the passes of a step added up."""
        ...

    def zero_grad(self) -> None:
        """Clears the gradients."""
        ...

    def clip_gradient(self, largest_norm: float) -> Tensor:
        """Scales the gradients down to a norm; returns the norm they had, float32 of no dimensions."""
        ...

    def expose_gradients(self, networks: Sequence[nn.Module]) -> None:
        """Lets the optimizer see the gradients of the networks that a step ran, and no others."""
        ...

    def averaged(self, average: Mapping[str, Tensor]) -> M:
        """The model with averages in place of its weights, while the training goes on."""
        ...

    def finished(self, average: Mapping[str, Tensor]) -> M:
        """The model with averages in place of its weights, at the end."""
        ...


@dataclass(frozen=True, slots=True)
class SharedWeights:
    """A supernet: every arch of its space can be asked for.

    Attributes:
        model: The supernet, trained in place.
        size: Size of archs, for rules that draw by it.
    """

    model: Supernet
    size: Size | None = None

    @property
    def space(self) -> SearchSpace:
        """The supernet's space."""
        return self.model.space

    @property
    def device(self) -> torch.device:
        """The device of the shared weights."""
        return self.model.device

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The shared parameters at their largest shapes."""
        return self.model.parameters

    def optimizer_groups(self, weight_decay: float) -> list[dict[str, object]]:
        """The shared parameters, decayed ones first."""
        return self.model.optimizer_groups(weight_decay)

    def weights(self) -> dict[str, Tensor]:
        """The flat tensor of each group; buffers belong to subnets and are no state of the training."""
        return self.model.flat

    def identity(self) -> str:
        """Nothing: first values follow from the space and the seed."""
        return ""

    def subnet(self, arch: Arch) -> nn.Module:
        """The network of an arch on the shared weights."""
        return self.model.subnet(arch)

    def gradients(self) -> list[Tensor]:
        """The flat gradient of each group."""
        return list(self.model.grad.values())

    def zero_grad(self) -> None:
        """Clears the shared gradient."""
        self.model.zero_grad()

    def clip_gradient(self, largest_norm: float) -> Tensor:
        """Scales the shared gradient down to a norm; returns the norm it had."""
        return self.model.clip_gradient(largest_norm)

    def expose_gradients(self, networks: Sequence[nn.Module]) -> None:
        """Hides the gradients of parameters that no subnet of the step used."""
        self.model.expose_gradients(self.model.used_by(networks))

    def averaged(self, average: Mapping[str, Tensor]) -> Supernet:
        """A supernet over the averages, which go on changing with the training."""
        return Supernet.reading(self.space, self.model.index, dict(average))

    def finished(self, average: Mapping[str, Tensor]) -> Supernet:
        """A supernet over the averages."""
        return self.averaged(average)


class OneNetwork:
    """A plain network of any kind, trained in place: buffers (BatchNorm statistics) go on from what they are.

    Args:
        network: network with at least one parameter, all on one device.
        teaching: what its teachers tell it; projections of that are trained beside it.

    Raises:
        ValueError: the network has no parameters.
    """

    def __init__(self, network: nn.Module, teaching: Teaching | None = None) -> None:
        if next(network.parameters(), None) is None:
            raise ValueError(f"{type(network).__name__} has no parameters, so there is nothing to train")
        self.model, self._teaching = network, teaching
        self.space = SearchSpace("one network", (), lambda arch: network)
        self.size: Size | None = None
        self.parameters = {**dict(network.named_parameters()), **self._of_teaching("named_parameters")}
        self.device = next(iter(self.parameters.values())).device

    def optimizer_groups(self, weight_decay: float) -> list[dict[str, object]]:
        """The parameters, decayed ones first: the same groups as the supernet has."""
        return [
            {
                "params": [p for p in self.parameters.values() if group_of(p.shape) == group],
                "weight_decay": decay,
            }
            for group, decay in zip(GROUPS, (weight_decay, 0.0), strict=True)
        ]

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers."""
        return {**self.parameters, **dict(self.model.named_buffers()), **self._of_teaching("named_buffers")}

    def _of_teaching(self, kind: str) -> dict[str, Any]:
        """Parameters or buffers of the teaching, under names that no network has."""
        if self._teaching is None:
            return {}
        return {f"teaching/{name}": one for name, one in getattr(self._teaching, kind)()}

    def identity(self) -> str:
        """A hash of all parameters and buffers as they are, and of the teachers."""
        found = hashlib.sha256(self._teaching.identity().encode() if self._teaching else b"")
        for name, tensor in self.weights().items():
            found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            # As bytes in PyTorch: NumPy has no bfloat16.
            found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return found.hexdigest()

    def subnet(self, arch: Arch) -> nn.Module:
        """The network, whatever the arch: there is but one."""
        del arch
        return self.model if self.model.training else self.model.train()

    def gradients(self) -> list[Tensor]:
        """The gradients of all parameters that have one."""
        return [p.grad for p in self.parameters.values() if p.grad is not None]

    def zero_grad(self) -> None:
        """Takes the gradients away: the optimizer then leaves alone what a step does not use."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def clip_gradient(self, largest_norm: float) -> Tensor:
        """Scales the gradients down to a norm; returns the norm they had."""
        return nn.utils.clip_grad_norm_(self.parameters.values(), largest_norm)

    def expose_gradients(self, networks: Sequence[nn.Module]) -> None:
        """Nothing to do: what was not used has no gradient."""

    def averaged(self, average: Mapping[str, Tensor]) -> nn.Module:
        """A copy of the network with the averages; statistics are averaged likewise."""
        own = {name: one for name, one in average.items() if not name.startswith("teaching/")}
        return OneNetwork(faithful_copy(self.model)).finished(own)

    @torch.no_grad()
    def finished(self, average: Mapping[str, Tensor]) -> nn.Module:
        """The network itself, with the averages."""
        weights = self.weights()
        for name, value in average.items():
            weights[name].copy_(value)
        return self.model
