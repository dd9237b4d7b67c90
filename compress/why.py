"""Why a file that should be faster is not: what the runtime spends its time on, before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import nn

from compress.pruning.prune import COUNTS
from compress.target import OperatorTime

CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "Cast")
LAYOUT = ("Transpose", "ReorderInput", "ReorderOutput", "Reshape", "Squeeze", "Unsqueeze")
INT8_PREFIXES = ("QLinear", "QGemm", "QAttention", "DynamicQuantize", "MatMulInteger", "ConvInteger")
_FORMS = {
    **dict.fromkeys(("NhwcConv", "NhwcFusedConv", "ConvInteger"), "Conv"),
    "QGemm": "Gemm",
    **dict.fromkeys(
        ("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits"), "MatMul"
    ),
}
_LISTED = 4
_WORTH_SAYING = 0.05  # share of the latency


def explain(
    before: Sequence[OperatorTime],
    after: Sequence[OperatorTime],
    network: nn.Module,
    *,
    channel_step: int = COUNTS,
) -> tuple[str, ...]:
    """What eats the gain of a file that was meant to be faster, in sentences, in order of weight.

    Args:
        before: Time by operator of the file that was there, in the words of ONNX Runtime; of other runtimes
            only what grew is seen.
        after: Time by operator of the file that was meant to be faster.
        network: Network behind that file.
        channel_step: Number whose multiples are the channel counts that the target runs at full speed.
    """
    return (*sentences(before, after), *_odd_channels(network, channel_step))


def sentences(before: Sequence[OperatorTime], after: Sequence[OperatorTime]) -> tuple[str, ...]:
    """What two lists of times by operator say without the network, in order of weight."""
    total = sum(entry.latency_ms for entry in after)
    return (
        *_growth(before, after, total),
        *_share(after, total, CONVERSIONS, "is spent on conversions between number formats"),
        *_share(after, total, LAYOUT, "is spent on moving data into another layout"),
        *_left_float(after, total),
    )


def _growth(old: Sequence[OperatorTime], new: Sequence[OperatorTime], total: float) -> list[str]:
    """The operators that take more time than before, all forms of one operator together."""
    earlier, later = _by_kind(old), _by_kind(new)
    grown = {kind: time - earlier.get(kind, 0.0) for kind, time in later.items()}
    worst = sorted(
        (kind for kind in grown if grown[kind] > _WORTH_SAYING * total), key=lambda kind: -grown[kind]
    )
    return [
        f"{kind} takes {later[kind]:.3f} ms where it took {earlier.get(kind, 0.0):.3f} ms"
        for kind in worst[:_LISTED]
    ]


def _by_kind(times: Sequence[OperatorTime]) -> dict[str, float]:
    kinds: dict[str, float] = {}
    for entry in times:
        kind = kind_of(entry.operator)
        kinds[kind] = kinds.get(kind, 0.0) + entry.latency_ms
    return kinds


def kind_of(operator: str) -> str:
    """What an operator of ONNX Runtime does, whatever the numbers and fusions it does it with."""
    kind = operator.removeprefix("QLinear").removeprefix("Fused").removesuffix("Bias")
    return _FORMS.get(kind, kind)


def _share(new: Sequence[OperatorTime], total: float, operators: Sequence[str], what: str) -> list[str]:
    found = [entry for entry in new if entry.operator in operators]
    time = sum(entry.latency_ms for entry in found)
    if time <= _WORTH_SAYING * total:
        return []
    listed = ", ".join(f"{entry.nodes} {entry.operator}" for entry in found)
    return [f"{time / total:.0%} of the time ({time:.3f} ms) {what}: {listed}"]


def _left_float(new: Sequence[OperatorTime], total: float) -> list[str]:
    """Operators that a quantized graph still runs in float."""
    if not any(entry.operator.startswith(INT8_PREFIXES) for entry in new):
        return []
    passing = (*CONVERSIONS, *LAYOUT)
    left = [
        entry
        for entry in new
        if not entry.operator.startswith(INT8_PREFIXES) and entry.operator not in passing
    ]
    time = sum(entry.latency_ms for entry in left)
    if time <= _WORTH_SAYING * total:
        return []
    listed = ", ".join(f"{entry.nodes} {entry.operator}" for entry in left[:_LISTED])
    return [
        f"{time / total:.0%} of the time ({time:.3f} ms) is spent on operators that stayed float: {listed}"
    ]


def _odd_channels(network: nn.Module, step: int) -> list[str]:
    """Convolutions whose output channels are not a multiple of the target's step."""
    counts = (part.out_channels for part in network.modules() if isinstance(part, nn.Conv2d))
    odd = Counter(count for count in counts if count % step)
    if not odd:
        return []
    listed = ", ".join(f"{count} with {channels}" for channels, count in odd.most_common(_LISTED))
    return [f"{odd.total()} convolutions have channel counts that are not multiples of {step}: {listed}"]
