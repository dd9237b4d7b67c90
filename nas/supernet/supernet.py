"""The supernet: the shared weights of every network in a space.

A subnet is the plain static network of an arch whose parameters are views of the shared weights and whose
gradients are views of the shared gradient, so it costs what the same static network costs, and computes
what the extracted network computes. There is no active-subnet state: which network runs is an argument.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nas.supernet.building import Skeletons, collecting_later
from nas.supernet.cloning import Single, Skeleton
from nas.supernet.discovery import Piece, discover, initialise, look, pieces_of
from nas.supernet.weights import GROUPS, Entry, Parameter, allocate, entry_of, same_kind
from results.files import replace_atomic
from search_spaces.space import Arch, SearchSpace

# Slices of the flat tensors are not laid out densely, which autograd remarks on once. It is meant so: the
# gradient of a slice has the strides of its parameter.
warnings.filterwarnings("ignore", message="grad and param do not obey the gradient layout contract")

_FORMAT = "quarry-supernet-1"
# The least recently used make room. A view is some 1 KB, a plan a pointer for each of its parameters.
_KEPT_VIEWS = 32_768
_KEPT_PLANS = 512

_Weight = tuple[nn.Parameter, Tensor | None, int]
"""A parameter, the gradient it is to have, and where its values are to begin in memory."""
_Plan = list[tuple[str, Skeleton | Single, list[_Weight]]]
"""The parts of a network: the name of each, what makes it, and what from."""


class Supernet:
    """The shared weights of every network in a space.

    Args:
        space: the search space.
        seed: seed of the first values.
        device: device that holds weights and gradients.
        own_norms: whether norms share their scales and shifts only among networks of the same width at that
            place ("Slimmable Neural Networks", Yu et al., ICLR 2019, section 3.2); else the narrower take the
            leading ones of the wider. Only spaces of layers show all widths beforehand.

    Attributes:
        index: place of each parameter, by name.
        flat: the weights, one flat float32 tensor for each group (with and without weight decay).
        grad: the gradients, likewise; empty when the weights are only read.

    Raises:
        ValueError: two archs disagree about a parameter (see ``discover``); the network keeps modules without
            registering them; norms of their own in a space that only builds.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        device: str | torch.device = "cpu",
        own_norms: bool = False,
    ) -> None:
        if own_norms and not space.slots:
            raise ValueError(
                f"space {space.name!r} only builds whole networks, so not all widths of its norms are known "
                f"beforehand; leave own_norms out"
            )
        self._skeletons = Skeletons(torch.device(device))
        known = look(space, self._skeletons, own_norms=own_norms)
        index = discover(known)
        flat = allocate(index, torch.device("cpu"))
        initialise(known, index, flat, seed)
        flat = {group: tensor.to(device) for group, tensor in flat.items()}
        self._attach(space, index, flat, {group: torch.zeros_like(tensor) for group, tensor in flat.items()})

    @classmethod
    def reading(cls, space: SearchSpace, index: dict[str, Entry], flat: dict[str, Tensor]) -> Supernet:
        """A supernet over weights that exist already and are only read: what evaluation workers hold.

        Args:
            space: the space the weights belong to.
            index: index of the supernet they come from.
            flat: its flat tensors, or others that share memory with them (or read-only copies).
        """
        supernet = cls.__new__(cls)
        supernet._skeletons = Skeletons(next(iter(flat.values())).device)
        supernet._attach(space, index, flat, {})
        return supernet

    def _attach(
        self, space: SearchSpace, index: dict[str, Entry], flat: dict[str, Tensor], grad: dict[str, Tensor]
    ) -> None:
        self.space, self.index, self.flat, self.grad = space, index, flat, grad
        self.device = next(iter(flat.values())).device
        self.parameters = {name: self._parameter(entry, entry.shape) for name, entry in index.items()}
        self._gradients = {name: p.grad for name, p in self.parameters.items() if p.grad is not None}
        self._views: OrderedDict[tuple[str, tuple[int, ...]], _Weight] = OrderedDict()
        self._plans: OrderedDict[bytes, _Plan] = OrderedDict()

    def __getstate__(self) -> dict[str, object]:
        """What the views are made from, and not the views, for ``copy.deepcopy`` and pickle."""
        return {"space": self.space, "index": self.index, "flat": self.flat, "grad": self.grad}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._skeletons = Skeletons(next(iter(state["flat"].values())).device)
        self._attach(**state)

    def _parameter(self, entry: Entry, shape: tuple[int, ...]) -> nn.Parameter:
        """A parameter over the shared weights, its gradient over the shared gradient."""
        parameter = nn.Parameter(entry.view(self.flat[entry.group], shape), requires_grad=entry.trainable)
        if entry.trainable and self.grad:
            parameter.grad = entry.view(self.grad[entry.group], shape)
        return parameter

    # -- networks ---------------------------------------------------------------------------------

    def subnet(self, arch: Arch) -> nn.Module:
        """The network of an arch running on the shared weights, in training mode.

        Every call gives a module of its own: buffers (BatchNorm statistics) are fresh, so recalibrate
        them before scoring. Backward adds into the shared gradient. The parameters are those of every subnet
        that uses the same slice: freezing one of them freezes it for all.

        Raises:
            ValueError: no arch of this space, or a parameter that no probed network showed.
        """
        key = self.space.to_row(arch).tobytes()
        with collecting_later():
            plan = self._plans.get(key)
            if plan is None or not _restored(plan):
                plan = self._plan(arch, self._view)
                _restored(plan)
                if all(isinstance(skeleton, Skeleton) for _, skeleton, _ in plan):
                    self._plans[key] = plan
                if len(self._plans) > _KEPT_PLANS:
                    self._plans.popitem(last=False)
            else:
                self._plans.move_to_end(key)
            return self._network(plan)

    def _plan(self, arch: Arch, weight: Callable[[Entry, tuple[int, ...]], _Weight]) -> _Plan:
        """How the network of an arch is made, on the parameters that ``weight(entry, shape)`` gives."""
        pieces = pieces_of(self.space, arch)
        skeletons = self._skeletons.of({piece.what: piece.build for piece in pieces})
        plan = []
        for piece in pieces:
            skeleton = skeletons.pop(piece.what, None)
            if skeleton is None:  # one of no twin was used up by an equal piece before this one
                skeleton = self._skeletons.of({piece.what: piece.build})[piece.what]
            elif isinstance(skeleton, Skeleton):
                skeletons[piece.what] = skeleton
            plan.append((piece.prefix, skeleton, self._weights(piece, skeleton.parameters, weight)))
        return plan

    def _weights(
        self,
        piece: Piece,
        parameters: Sequence[Parameter],
        weight: Callable[[Entry, tuple[int, ...]], _Weight],
    ) -> list[_Weight]:
        """What the parameters of a piece become."""
        prefix, own = f"{piece.prefix}." if piece.prefix else "", []
        for one in parameters:
            entry = entry_of(self.index, prefix + one.name, one.shape)
            try:
                if entry is None:
                    raise ValueError(f"parameter {prefix + one.name!r} was in no network that was looked at")
                if not same_kind(one.owner, entry.owner):
                    raise ValueError(
                        f"parameter {entry.name!r} is of a {one.owner} here and of a {entry.owner} elsewhere"
                    )
                own.append(weight(entry, one.shape))
            except ValueError as error:
                raise ValueError(
                    f"{piece.what}: {error}. This network was not looked at when the supernet was made: name "
                    f"it in SearchSpace(..., probes=[...])"
                ) from None
        return own

    def _network(self, plan: _Plan) -> nn.Module:
        modules = {name: skeleton.make([one[0] for one in own]) for name, skeleton, own in plan}
        if "" in modules:  # of a space that only builds, the whole network is one piece
            return modules[""]
        network = nn.Sequential()
        network._modules.update(modules)  # past add_module and its checks: six times as fast
        return network

    def _view(self, entry: Entry, shape: tuple[int, ...]) -> _Weight:
        """The parameter over a slice of the shared weights; the same one each time."""
        key = entry.name, shape
        view = self._views.get(key)
        if view is None or view[0].data_ptr() != view[2]:
            parameter = self._parameter(entry, shape)
            view = self._views[key] = parameter, parameter.grad, parameter.data_ptr()
            if len(self._views) > _KEPT_VIEWS:
                self._views.popitem(last=False)
        self._views.move_to_end(key)
        return view

    def extract(self, arch: Arch) -> nn.Module:
        """The network of an arch as a plain, independent module in training mode, weights copied.

        BatchNorm statistics are fresh: recalibrate them before use (``recalibrate``).
        """
        with collecting_later():
            return self._network(self._plan(arch, self._copy))

    def _copy(self, entry: Entry, shape: tuple[int, ...]) -> _Weight:
        """A parameter with memory of its own."""
        value = entry.view(self.flat[entry.group], shape).clone(memory_format=torch.contiguous_format)
        return nn.Parameter(value, requires_grad=entry.trainable), None, 0

    # -- training ---------------------------------------------------------------------------------

    def zero_grad(self) -> None:
        """Clears the shared gradient."""
        for gradient in self.grad.values():
            gradient.zero_()

    def optimizer_groups(self, weight_decay: float) -> list[dict[str, object]]:
        """Parameter groups for a ``torch.optim`` optimizer: the shared weights at their largest shapes.

        Clear gradients with the supernet's ``zero_grad`` (the optimizer's would take them away), and call
        ``expose_gradients`` before each step.
        """
        groups = []
        for group, decay in zip(GROUPS, (weight_decay, 0.0), strict=True):
            chosen = [
                self.parameters[e.name] for e in self.index.values() if e.group == group and e.trainable
            ]
            groups.append({"params": chosen, "weight_decay": decay})
        return groups

    def used_by(self, networks: Sequence[nn.Module]) -> set[str]:
        """The names in the index of the parameters that these subnets run on."""
        found = set()
        for network in networks:
            for name, parameter in network.named_parameters():
                entry = entry_of(self.index, name, tuple(parameter.shape))
                if entry is not None:
                    found.add(entry.name)
        return found

    def expose_gradients(self, used: Collection[str]) -> None:
        """Lets the optimizer see the gradients of these parameters only.

        A name that no subnet of a step used is skipped, so that the moments of rarely sampled parts
        neither decay nor step on stale momentum.
        """
        for name, parameter in self.parameters.items():
            parameter.grad = self._gradients.get(name) if name in used else None

    def clip_gradient(self, largest_norm: float) -> Tensor:
        """Scales the shared gradient down to a norm; returns the norm it had, float32 of no dimensions."""
        total = torch.linalg.vector_norm(
            torch.stack([torch.linalg.vector_norm(gradient) for gradient in self.grad.values()])
        )
        scale = (largest_norm / (total + 1e-6)).clamp(max=1.0)
        for gradient in self.grad.values():
            gradient.mul_(scale)
        return total

    # -- files ------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Writes the weights by name as safetensors, atomically."""
        tensors = {name: parameter.detach().cpu().contiguous() for name, parameter in self.parameters.items()}
        metadata = {"format": _FORMAT, "space": self.space.name, "fingerprint": self.space.fingerprint}
        replace_atomic(Path(path), lambda temporary: save_file(tensors, temporary, metadata))

    @classmethod
    def load(cls, path: Path, space: SearchSpace, *, device: str | torch.device = "cpu") -> Supernet:
        """Reads what ``save`` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a truncated file, one of another kind, or of another space.
        """
        tensors = read_weights(Path(path), space)
        own_norms = bool(space.slots) and any(name.endswith("]") for name in tensors)
        supernet = cls(space, device=device, own_norms=own_norms)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if shapes != {name: entry.shape for name, entry in supernet.index.items()}:
            raise ValueError(f"{path} holds other parameters than space {space.name!r} has; train it anew")
        with torch.no_grad():
            for name, tensor in tensors.items():
                supernet.parameters[name].copy_(tensor)
        return supernet


def _restored(plan: _Plan) -> bool:
    """Gives parameters the gradients back that somebody cleared with ``zero_grad``.

    False where a parameter has other values than the shared ones: ``.half()`` or ``.to`` on a subnet swaps
    them.
    """
    for _, _, weights in plan:
        for parameter, gradient, place in weights:
            if parameter.data_ptr() != place:
                return False
            if parameter.grad is not gradient:
                parameter.grad = gradient
    return True


def read_weights(path: Path, space: SearchSpace) -> dict[str, Tensor]:
    """The tensors of a supernet file, after checking that it is whole and belongs to the space.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a truncated file, one of another kind, or of another space.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no supernet at {path}; train one first")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or no supernet ({error}); delete it and train again") from error
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"{path} is no supernet file of this version (format {metadata.get('format')!r})")
    if metadata.get("fingerprint") != space.fingerprint:
        theirs, ours = metadata.get("fingerprint"), space.fingerprint
        raise ValueError(
            f"{path} belongs to another search space ({metadata.get('space')!r}, {theirs}) than "
            f"{space.name!r} ({ours}); use the recipe it was trained with"
        )
    return tensors
