"""Two ONNX files in the runtime, layer by layer: what changed, what it cost, what would help."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from onnx import ModelProto

from compress.onnx.layers import layer_name, makers_of
from compress.onnx.times import NodeTime, by_operator
from compress.pruning.prune import COUNTS
from compress.why import CONVERSIONS, INT8_PREFIXES, LAYOUT, kind_of, sentences

TINY_MS = 0.006
"""Time of a node below which starting it is most of it."""
_LISTED = 4
_WORTH_SAYING = 0.05  # share of the latency
_BUILT_OF_PIECES = {
    "Erf": "GELU stands there in pieces (Erf, Mul, Add): export at opset 20 or newer, where it is one",
    "BatchNormalization": "norms stand there by themselves: fold them into the convolutions before them",
    "ReduceMean": "a norm or a mean stands there in pieces: export LayerNorm as one operator (opset 17), "
    "and means over the whole map as GlobalAveragePool",
}
_ACTIVATIONS = (
    "Relu",
    "Clip",
    "LeakyRelu",
    "Sigmoid",
    "HardSwish",
    "HardSigmoid",
    "Gelu",
    "QuickGelu",
    "Erf",
    "Tanh",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePair:
    """A node of one file and what stands for it in the other; None where nothing does."""

    before: NodeTime | None
    after: NodeTime | None

    @property
    def name(self) -> str:
        """Name of the layer: the second file's, where both have it."""
        return (self.after or self.before).layer  # type: ignore[union-attr]

    @property
    def gain_ms(self) -> float:
        """Time that is saved; below zero where it takes longer."""
        return _latency(self.before) - _latency(self.after)

    @property
    def change(self) -> str:
        """What changed, in a few words; nothing where it is the same."""
        old, new = self.before, self.after
        if old is None or new is None:
            return "new" if old is None else "gone"
        words: list[str] = []
        if old.operator != new.operator:
            words.append(f"{old.operator} to {new.operator}")
        if old.outputs != new.outputs:
            words.append(f"{old.outputs} to {new.outputs} channels")
        elif old.macs != new.macs:
            words.append(f"{old.macs / max(1, new.macs):.2g}x fewer MACs")
        elif not old.macs and sorted(old.shape) != sorted(new.shape):
            words.append(f"{_sizes(old.shape)} to {_sizes(new.shape)}")
        return ", ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDifference:
    """Two files beside each other.

    Attributes:
        pairs: nodes with what stands for them in the other file, in the order of the second file, then those
            that are gone.
        remarks: what eats the gain and what would help, one sentence each, in order of weight.
    """

    pairs: tuple[NodePair, ...]
    remarks: tuple[str, ...]

    @property
    def before_ms(self) -> float:
        """Sum over the nodes of the first file, with what profiling adds."""
        return sum(_latency(pair.before) for pair in self.pairs)

    @property
    def after_ms(self) -> float:
        """Sum over the nodes of the second file, with what profiling adds."""
        return sum(_latency(pair.after) for pair in self.pairs)


def difference(
    before: Sequence[NodeTime],
    after: Sequence[NodeTime],
    model: ModelProto,
    *,
    channel_step: int = COUNTS,
    faster: float | None = None,
) -> FileDifference:
    """Pairs the nodes of two files and says where the time of the second goes.

    Layers with weights are paired by name, then by kind in the order of the files; other nodes by name and
    kind, then likewise. Conversions and changes of layout are the runtime's own and paired with nothing.

    Args:
        before: nodes of the first file, as ``node_times`` gives them.
        after: nodes of the second.
        model: the second file.
        channel_step: number whose multiples are the channel counts that the device runs at full speed.
        faster: latency of the first file over that of the second, measured without a profiler; None takes
            the sums over the nodes.
    """
    pairs = pair_nodes(before, after)
    total = sum(node.latency_ms for node in after)
    remarks = [
        *_arithmetic(before, after, faster),
        *sentences(by_operator(tuple(before)), by_operator(tuple(after))),
        *_converted_around(model, after),
        *_no_faster(pairs, total),
        *_off_the_step(after, channel_step, total),
        *_in_pieces(after, total),
        *_tiny(after, total),
    ]
    return FileDifference(pairs=tuple(pairs), remarks=tuple(remarks))


def pair_nodes(before: Sequence[NodeTime], after: Sequence[NodeTime]) -> list[NodePair]:
    """Every node of both files once: with its partner, or alone."""
    partner: dict[int, int] = {}  # index before by index after
    by_name: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for index, node in enumerate(before):
        by_name[node.layer, kind_of(node.operator)].append(index)
    for index, node in enumerate(after):
        same = by_name[node.layer, kind_of(node.operator)]
        if same and not _is_passing(node):
            partner[index] = same.pop(0)
    taken = set(partner.values())
    for of_layers in (True, False):
        here = [i for i, node in enumerate(before) if i not in taken and _is_kind(node, of_layers)]
        there = [i for i, node in enumerate(after) if i not in partner and _is_kind(node, of_layers)]
        old, new = [kind_of(before[i].operator) for i in here], [kind_of(after[i].operator) for i in there]
        matcher = SequenceMatcher(None, old, new, autojunk=False)
        for block in matcher.get_matching_blocks():
            for step in range(block.size):
                partner[there[block.b + step]] = here[block.a + step]
    pairs = [
        NodePair(before=before[partner[i]] if i in partner else None, after=node)
        for i, node in enumerate(after)
    ]
    gone = set(range(len(before))) - set(partner.values())
    return [*pairs, *(NodePair(before=before[index], after=None) for index in sorted(gone))]


def _is_passing(node: NodeTime) -> bool:
    return node.operator in (*CONVERSIONS, *LAYOUT)


def _is_kind(node: NodeTime, of_layers: bool) -> bool:
    return not _is_passing(node) and bool(node.outputs) == of_layers


def _latency(node: NodeTime | None) -> float:
    return 0.0 if node is None else node.latency_ms


def _sizes(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape[1:])) or "one number"


def _arithmetic(before: Sequence[NodeTime], after: Sequence[NodeTime], faster: float | None) -> list[str]:
    """How much of what was cut from the arithmetic arrived as time."""
    old, new = (sum(node.macs for node in nodes) for nodes in (before, after))
    times = [sum(node.latency_ms for node in nodes) for nodes in (before, after)]
    if not old or not new or not all(times) or abs(old / new - 1) < 0.02:
        return []
    fewer, faster = old / new, faster or times[0] / times[1]
    return [
        f"{fewer:.2f}x fewer multiply-accumulates came out as {faster:.2f}x in time "
        f"({100 * faster / fewer:.0f}% of it)"
    ]


def _converted_around(model: ModelProto, nodes: Sequence[NodeTime]) -> list[str]:
    """Operators that run in float between a DequantizeLinear and a QuantizeLinear."""
    makers = makers_of(model)
    readers: defaultdict[str, list[str]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node.op_type)
    surrounded = {
        layer_name(node)
        for node in model.graph.node
        if node.op_type not in CONVERSIONS
        and any(name in makers and makers[name].op_type == "DequantizeLinear" for name in node.input)
        and any("QuantizeLinear" in readers[name] for name in node.output)
    }
    found = Counter(
        node.operator
        for node in nodes
        if node.layer in surrounded and node.number_format == "float" and not _is_passing(node)
    )
    if not found:
        return []
    return [
        f"the runtime has no int8 form of {_counted(found)}, with conversions on both sides: leave them and "
        "what stands beside them float"
    ]


def _no_faster(pairs: Sequence[NodePair], total: float) -> list[str]:
    """Layers with a quarter less arithmetic or fewer bits, and hardly less time."""
    told = []
    for pair in sorted(pairs, key=lambda pair: pair.gain_ms):
        old, new = pair.before, pair.after
        if (
            old is None
            or new is None
            or not new.macs
            or not new.latency_ms
            or new.latency_ms < _WORTH_SAYING * total / 2
        ):
            continue
        fewer, faster = old.macs / new.macs, old.latency_ms / new.latency_ms
        if fewer > 1.25 and faster < 1 + (fewer - 1) / 3:
            told.append(f"{new.layer} ({fewer:.2g}x fewer MACs, {faster:.2f}x in time)")
        elif new.operator.startswith(INT8_PREFIXES) > old.operator.startswith(INT8_PREFIXES) and faster < 1.1:
            told.append(f"{new.layer} (int8, {faster:.2f}x in time)")
    if not told:
        return []
    rest = f" and {len(told) - _LISTED} more" if len(told) > _LISTED else ""
    return [
        f"these gained nothing or little and would do better as they were: {', '.join(told[:_LISTED])}{rest}"
    ]


def _off_the_step(nodes: Sequence[NodeTime], step: int, total: float) -> list[str]:
    odd = [node for node in nodes if "Conv" in node.operator and node.outputs % step]
    share = sum(node.latency_ms for node in odd) / total if total else 0.0
    if share <= _WORTH_SAYING:
        return []
    named = sorted(odd, key=lambda node: -node.latency_ms)[:_LISTED]
    listed = ", ".join(
        f"{node.layer} has {node.outputs}, next {_around(node.outputs, step)}" for node in named
    )
    return [
        f"{share:.0%} of the time is spent in {len(odd)} convolutions whose channels are no multiple of "
        f"{step}, the device's step: {listed}"
    ]


def _around(count: int, step: int) -> str:
    low = count // step * step
    return f"{low} or {low + step}" if low else str(step)


def _in_pieces(nodes: Sequence[NodeTime], total: float) -> list[str]:
    """Operators that stand alone where the runtime could have run them with another."""
    told = []
    for operator, words in _BUILT_OF_PIECES.items():
        found = [node for node in nodes if node.operator == operator]
        time = sum(node.latency_ms for node in found)
        if found and time > _WORTH_SAYING / 2 * total:
            told.append(f"{len(found)} {operator}, {time / total:.0%} of the time: {words}")
    alone = [node for node in nodes if node.operator in _ACTIVATIONS[:-2]]
    time = sum(node.latency_ms for node in alone)
    if alone and time > _WORTH_SAYING * total:
        kinds = Counter(node.operator for node in alone)
        told.append(
            f"{time / total:.0%} of the time is spent on activations that the runtime runs by themselves: "
            f"{_counted(kinds)}; behind a convolution it fuses ReLU and others that are cheap"
        )
    return told


def _tiny(nodes: Sequence[NodeTime], total: float) -> list[str]:
    tiny = [node for node in nodes if node.latency_ms < TINY_MS]
    share = sum(node.latency_ms for node in tiny) / total if total else 0.0
    if share < 2 * _WORTH_SAYING:
        return []
    return [
        f"{len(tiny)} of {len(nodes)} operators take under {1e3 * TINY_MS:.0f} us each, {share:.0%} of the "
        "time: starting them is most of it, so fewer, larger layers would help more than less arithmetic"
    ]


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_LISTED))


def table(found: FileDifference, say: Callable[[str], None], *, rows: int = 16, width: int = 80) -> None:
    """The pairs whose time differs most, and the rest summed, as lines of at most ``width`` characters."""
    shown = sorted((pair for pair in found.pairs), key=lambda pair: -abs(pair.gain_ms))
    say(f"{'layer':<26} {'before':>8} {'after':>8} {'change':>8}  what changed")
    for pair in shown[:rows]:
        say(
            _line(_shortened(pair.name, 26), _latency(pair.before), _latency(pair.after), pair.change)[:width]
        )
    if rest := shown[rows:]:
        old, new = (sum(map(_latency, side)) for side in zip(*map(_ends, rest), strict=True))
        say(_line(f"{len(rest)} others", old, new, "")[:width])
    say(_line("all operators", found.before_ms, found.after_ms, "ms, with what timing them adds")[:width])


def _ends(pair: NodePair) -> tuple[NodeTime | None, NodeTime | None]:
    return pair.before, pair.after


def _line(name: str, before: float, after: float, words: str) -> str:
    times = (f"{time:8.3f}" if time else f"{'-':>8}" for time in (before, after))
    return f"{name:<26} {' '.join(times)} {after - before:+8.3f}  {words}".rstrip()


def _shortened(name: str, width: int) -> str:
    return name if len(name) <= width else f"...{name[3 - width :]}"
