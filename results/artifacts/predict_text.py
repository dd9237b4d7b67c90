"""The program that lies beside a model: ``predict.py IMAGE...``, for those who have nothing of ours."""

from __future__ import annotations

from results.records.card import Card
from results.records.card_text import preparation_code

FLOAT_FILE = "model-fp32.onnx"
"""The network before quantization, or for another runtime, as ONNX."""

_CODE = '''"""Classify images with {name}: python predict.py IMAGE... (files or folders of images).

It needs onnxruntime, numpy and pillow.
"""

import json
import sys
from pathlib import Path

{prepare}

def load(file=Path(__file__).with_name("{file}")):
    """A function from input, float32 (N, {channels}, {height}, {width}), to scores (N, classes)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {{name: images}})[0]


def probabilities(scores):
    """Softmax of scores along their last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def files_of(paths):
    """The files themselves, and the images in folders and below."""
    known = Image.registered_extensions()
    for path in map(Path, paths):
        inside = sorted(path.rglob("*")) if path.is_dir() else []
        found = [file for file in inside if file.suffix.lower() in known] if path.is_dir() else [path]
        if not found:
            print(f"{{path}}: no images in this folder", file=sys.stderr)
        yield from found


def main(paths):
    """Prints the likeliest classes of each image; the number of images that could not be read."""
    if not paths:
        sys.exit("usage: python predict.py IMAGE...")
    labels = json.loads(Path(__file__).with_name("labels.json").read_text())
    scores_of, failed = load(), 0
    for file in files_of(paths):
        try:
            images = prepare(file)
        except (OSError, ValueError, SyntaxError) as error:  # Pillow raises these for what is no picture
            print(f"{{file}}: {{error}}", file=sys.stderr)
            failed += 1
            continue
        shares = probabilities(scores_of(images))[0]
        best = shares.argsort()[::-1][:5]
        print(f"{{file}}: " + ", ".join(f"{{labels[i]}} {{shares[i]:.1%}}" for i in best))
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
'''


def predict_code(card: Card) -> str:
    """The content of ``predict.py`` for a card's model."""
    given = card.preprocessing
    return _CODE.format(
        name=card.name,
        file=card.file if card.file.endswith(".onnx") else FLOAT_FILE,
        prepare=preparation_code(given),
        channels=given.channels,
        height=given.height,
        width=given.width,
    )
