"""The program that lies beside a model: ``predict.py IMAGE...``, for those who have nothing of ours."""

from __future__ import annotations

from results.records.card import Card
from results.records.card_text import preparation_code

FLOAT_FILE = "model-fp32.onnx"
"""The network before quantization, or for another runtime, as ONNX."""

_CODE = '''"""Ask {name} about images: python predict.py IMAGE... (files or folders of images).

It needs onnxruntime, numpy and pillow.
"""

import json
import sys
from pathlib import Path

{prepare}

def load(file=Path(__file__).with_name("{file}")):
    """A function from input, float32 (N, {channels}, {height}, {width}), to outputs (N, {outputs})."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {{name: images}})[0]


{answer}


def files_of(paths):
    """The files themselves, and the images in folders and below."""
    known = {known}
    for path in map(Path, paths):
        inside = sorted(path.rglob("*")) if path.is_dir() else []
        found = [file for file in inside if file.suffix.lower() in known] if path.is_dir() else [path]
        if not found:
            print(f"{{path}}: no images in this folder", file=sys.stderr)
        yield from found


def main(paths):
    """Prints the answer for each image; the number of images that could not be read."""
    if not paths:
        sys.exit("usage: python predict.py IMAGE...")
    labels = json.loads(Path(__file__).with_name("labels.json").read_text())
    outputs_of, failed = load(), 0
    for file in files_of(paths):
        try:
            images = prepare(file)
        except (OSError, ValueError, SyntaxError, EOFError) as error:  # for what is no picture or array
            print(f"{{file}}: {{error}}", file=sys.stderr)
            failed += 1
            continue
{told}
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
'''


_SOFTMAX = '''def probabilities(outputs):
    """Softmax of outputs along their last axis."""
    powers = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)'''
_BINARY = '''def probabilities(outputs):
    """Probabilities of both classes from the one output, which speaks for the second."""
    shares = (1 + np.tanh(outputs / 2)) / 2  # the sigmoid, without an overflow
    return np.concatenate([1 - shares, shares], axis=-1)'''
_SIGMOID = '''def probabilities(outputs):
    """Probability of each label."""
    return (1 + np.tanh(outputs / 2)) / 2  # the sigmoid, without an overflow'''
_VALUES = '''def values(outputs):
    """Values from outputs."""
    return outputs * np.array({scale}) + np.array({offset})


DIGITS = {digits}  # significant ones of each value'''
_TOLD = """        shares = probabilities(outputs_of(images))[0]
        best = shares.argsort()[::-1][:5]
        print(f"{file}: " + ", ".join(f"{labels[i]} {shares[i]:.1%}" for i in best))"""
_TOLD_VALUES = """        found = zip(labels, values(outputs_of(images))[0], DIGITS)
        print(f"{file}: " + ", ".join(f"{label} {value:.{digits}g}" for label, value, digits in found))"""
_ANSWERS = {"class": _SOFTMAX, "binary": _BINARY, "labels": _SIGMOID}


def predict_code(card: Card) -> str:
    """The content of ``predict.py`` for a card's model."""
    given, answer = card.preprocessing, card.answer
    values = answer.kind == "values"
    return _CODE.format(
        name=card.name,
        file=card.file if card.file.endswith(".onnx") else FLOAT_FILE,
        outputs=answer.named if answer.kind != "binary" else 1,
        answer=_VALUES.format(
            scale=list(answer.scale), offset=list(answer.offset), digits=list(answer.digits)
        )
        if values
        else _ANSWERS[answer.kind],
        told=_TOLD_VALUES if values else _TOLD,
        known="Image.registered_extensions()" if given.is_picture else '{".npy"}',
        prepare=preparation_code(given),
        channels=given.channels,
        height=given.height,
        width=given.width,
    )
