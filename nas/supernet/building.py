"""Networks built cheaply: constructors run, initialisers do not, and what was built once is made again.

A subnet's weights are views of the supernet's, so the values that a constructor would draw are never
seen. What constructors compute besides (index tables, masks, buffers) is kept, which a bare build on the
meta device would lose.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import init

from nas.supernet.cloning import NoTwinError, Single, Skeleton, Templates

_KEPT = 512  # plans, of some 100 KB each for a whole network


_INITIALISERS = tuple(
    name for name, one in vars(init).items() if name.endswith("_") and isinstance(one, types.FunctionType)
)
_patching = threading.RLock()
_built: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # bare ones that somebody still holds


@contextlib.contextmanager
def without_initialisers(device: torch.device) -> Iterator[None]:
    """Modules built inside keep their parameters uninitialised; the global random state is untouched.

    The functions of ``torch.nn.init`` do nothing to parameters meanwhile, in this thread. (A
    ``TorchFunctionMode`` would need no patch, but costs more than the initialisers of small networks do.)
    """
    here = threading.get_ident()

    def idle(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def initialiser(tensor: Tensor, *args: object, **options: object) -> Tensor:
            # Buffers are kept, so they are filled.
            parameter = type(tensor) is nn.Parameter or isinstance(tensor, nn.Parameter)  # the first is fast
            skipped = parameter and threading.get_ident() == here
            return tensor if skipped else original(tensor, *args, **options)

        return initialiser

    # The mode of a device is entered only where it changes something: it slows every constructor.
    place = contextlib.nullcontext() if device == torch.get_default_device() else device
    with _patching, torch.random.fork_rng(devices=[]), place:
        originals = {name: getattr(init, name) for name in _INITIALISERS}
        try:
            for name, original in originals.items():
                setattr(init, name, idle(original))
            yield
        finally:
            for name, original in originals.items():
                setattr(init, name, original)


def bare(builds: Sequence[Callable[[], nn.Module]]) -> list[nn.Module]:
    """What these constructors make, on the CPU, parameters uninitialised.

    What a constructor draws for its buffers comes out the same every time.
    """
    if not builds:
        return []
    modules = []
    with without_initialisers(torch.device("cpu")):
        for build in builds:
            torch.default_generator.manual_seed(0)
            modules.append(new(build))
    _built.update(modules)
    return modules


def new(build: Callable[[], nn.Module]) -> nn.Module:
    """What a constructor makes.

    Raises:
        ValueError: it is no module, or one that was made before.
    """
    module = build()
    if not isinstance(module, nn.Module):
        raise ValueError(f"build(arch) has to return the network, an nn.Module; it returned {module!r:.80}")
    if module in _built:
        raise ValueError(
            "build(arch) returned a network that it had returned before; make a new one each time"
        )
    return module


@contextlib.contextmanager
def collecting_later() -> Iterator[None]:
    """Holds the garbage collector back for a moment.

    A network is some ten thousand small objects that all live; going through them again and again while they
    are made takes a third of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Skeletons:
    """The skeletons used lately, by a name for what they build.

    Args:
        device: device of the networks' buffers.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._kept: OrderedDict[str, Skeleton] = OrderedDict()
        self._twinless: set[str] = set()
        self._buffers = Templates(device)

    def of(self, builds: Mapping[str, Callable[[], nn.Module]]) -> dict[str, Skeleton | Single]:
        """What makes the networks of these constructors, by the same names; what is not kept is built."""
        found: dict[str, Skeleton | Single] = {}
        for name in builds:
            if skeleton := self._kept.get(name):
                found[name] = skeleton
                self._kept.move_to_end(name)
        missing = [name for name in builds if name not in found]
        for name, module in zip(missing, bare([builds[name] for name in missing]), strict=True):
            found[name] = self._first(name, module)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    def _first(self, name: str, module: nn.Module) -> Skeleton | Single:
        """What makes a network that was just built."""
        if name not in self._twinless:
            try:
                skeleton = self._kept[name] = Skeleton(module, self._buffers)
            except NoTwinError:
                self._twinless.add(name)
            else:
                return skeleton
        return Single(module, self._device)
