"""The card of an artifact as a README to lie beside the model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from results.records.card import Card, Preprocessing

NOT_MEASURED = " (computed from constants of the profile, not measured)"


def readme(card: Card, files: Mapping[str, str] = {}, missing: Sequence[str] = ()) -> str:
    """The card as Markdown, with the heading that model hubs read.

    Args:
        card: what is known of the model.
        files: what lies beside it, by name, each with what it is.
        missing: files that could not be made, each with the reason.
    """
    parts = [
        _hub(card),
        _heading(card),
        _numbers(card),
        _files(files, missing),
        _preparation(card),
        _usage(card),
    ]
    parts += [_training(files), _origin(card)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _data_name(recipe: Mapping[str, Any]) -> str:
    """Name of the data, folders above them left out; the recipe's where it does not say."""
    data = recipe.get("data")
    source = data.get("source") if isinstance(data, Mapping) else data
    return PurePath(str(source)).name if source else str(recipe.get("name") or "own data")


_LIBRARIES = {"onnx": "onnx", "pt2": "pytorch", "pte": "executorch", "tflite": "tflite"}


def _hub(card: Card) -> str:
    """Metadata in the form of a hub's model cards; strings of JSON are strings of YAML."""
    source = json.dumps(_data_name(card.provenance.recipe))
    task = "other" if card.answer.kind == "values" else "image-classification"
    metric = card.metric.lower().replace(" ", "_")
    library = _LIBRARIES.get(card.file.rpartition(".")[2])
    return "\n".join(
        [
            "---",
            *([f"library_name: {library}"] if library else []),
            f"pipeline_tag: {task}",
            "tags:",
            "- quarry",
            f"- {card.precision}",
            "metrics:",
            f"- {metric}",
            "model-index:",
            f"- name: {json.dumps(card.name)}",
            "  results:",
            "  - task:",
            f"      type: {task}",
            "    dataset:",
            f"      name: {source}",
            f"      type: {source}",
            "    metrics:",
            f"    - type: {metric}",
            f"      value: {card.accuracy.exported_test:.6g}",
            "---",
        ]
    )


def _files(files: Mapping[str, str], missing: Sequence[str]) -> str:
    if not files:
        return ""
    lines = [f"| `{name}` | {words} |" for name, words in files.items()]
    lost = [f"- without {words}" for words in missing]
    table = ["## Files", "", "| file | what it is |", "|---|---|", *lines, *(["", *lost] if lost else [])]
    check = "`sha256sum --check checksums.sha256` says whether they are what was written."
    return "\n".join([*table, "", check])


def _training(files: Mapping[str, str]) -> str:
    if "model.py" not in files:
        return ""
    return (
        "## Train it further\n\n`model.py` needs PyTorch and safetensors alone.\n\n"
        "```python\nimport model\n\nnetwork = model.load()  # in eval mode; train() before a step\n```"
    )


def _heading(card: Card) -> str:
    latency = card.latency
    limit_ms = card.limit.latency_ms
    met = "meets" if card.share_of_limit <= 1 else "does not meet"
    limit = "" if limit_ms is None else f" It {met} the limit of {limit_ms:.4g} ms."
    broken = "".join(f" It does not fit: {words}." for words in card.limit.broken)
    kept = ", then ".join(card.steps_kept) or "none"
    return (
        f"# {card.name}\n\n"
        f"`{card.file}` ({card.precision}, {card.size_bytes / 1000:.1f} kB) {_does(card)} on "
        f"{card.accuracy.test_images} test images, {latency.measured_ms:.4g} ms a call of {latency.batch} on "
        f"{latency.threads} thread{'s' if latency.threads != 1 else ''} of {latency.runtime}"
        f"{NOT_MEASURED if latency.how == 'computed' else ''}.{limit}{broken}"
        f"\n\nCompression steps kept: {kept}."
    )


def _does(card: Card) -> str:
    """What the model does, and how well."""
    share, n = card.accuracy.exported_test, len(card.classes)
    if card.answer.named != "classes":
        return f"tells {n} {card.answer.named} of an image: {card.metric} {share:.2%}"
    right = f"{share:.2%} right" if card.metric == "accuracy" else f"{card.metric} {share:.2%}"
    return f"classifies an image into {n} classes: {right}"


def _numbers(card: Card) -> str:
    accuracy, latency, other = card.accuracy, card.latency, card.reference
    rows = [
        (f"{card.metric} of the file, run on the test set", f"{accuracy.exported_test:.2%}"),
        (f"{card.metric} of the float network, on the test set", f"{accuracy.float_test:.2%}"),
        (f"{card.metric} of the file, on validation data", f"{accuracy.validation:.2%}"),
        *_weights(card),
        ("images with the same prediction as in PyTorch", f"{card.agreement.same_predictions:.2%}"),
        ("largest difference of an output", f"{card.agreement.max_difference:.2g}"),
        (
            f"latency, {latency.how} {'from' if latency.how == 'computed' else 'on'} the file",
            f"{latency.measured_ms:.4g} ms ({latency.low_ms:.4g} to {latency.high_ms:.4g})",
        ),
        *_predicted(card),
        ("multiply-accumulates", f"{card.macs:,}"),
        ("parameters", f"{card.params:,}"),
        ("size of the file", f"{card.size_bytes:,} bytes"),
    ]
    if other is not None:
        rows += [
            (
                f"the {other.name} network",
                f"{other.exported_test:.2%}, {other.latency_ms:.4g} ms, {other.size_bytes:,} bytes",
            ),
            ("speed-up over that network", f"{other.speedup:.2f} times"),
        ]
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join(["## Numbers", "", "| what | value |", "|---|---|", *lines])


def _predicted(card: Card) -> list[tuple[str, str]]:
    predicted_ms, upper_ms = card.latency.predicted_ms, card.latency.upper_ms
    if predicted_ms is None or upper_ms is None:
        return []
    return [("latency, predicted before compression", f"{predicted_ms:.4g} ms (at most {upper_ms:.4g})")]


def _weights(card: Card) -> list[tuple[str, str]]:
    if card.weights is None:
        return []
    kept = card.weights.kept
    return [
        (
            f"{card.metric} before compression, {name}{' (kept)' if name == kept else ''}, "
            "on validation data",
            f"{accuracy:.2%}",
        )
        for name, accuracy in card.weights.offered()
    ]


def _preparation(card: Card) -> str:
    shape = " x ".join(str(size) for size in card.input.shape)
    known = {name: value for name, value in card.preprocessing.to_json().items() if value is not None}
    lines = [f"- {name}: {_words(value)}" for name, value in known.items()]
    intro = f"Input `{card.input.name}`: {card.input.dtype}, {shape}."
    classes = f"{card.answer.named.capitalize()}, in the order of the outputs: {', '.join(card.classes)}."
    if card.answer.kind == "binary":
        classes += " The one output speaks for the second: above 0 it is that."
    elif card.answer.kind == "labels":
        classes += " A label is there where its output is above 0."
    elif card.answer.kind == "values":
        scale, offset = list(card.answer.scale), list(card.answer.offset)
        classes += f" A value is its output times its scale plus its offset: {scale}, {offset}."
    code = f"```python\n{preparation_code(card.preprocessing)}```"
    return "\n".join(["## Input and output", "", intro, "", *lines, "", code, "", classes])


# What `runners.data.images` and `runners.data.splits` do, for those who have neither; a test compares bits.
_PREPARE = """import numpy as np
from PIL import Image, ImageOps

def prepare(file):
    \"\"\"An image file as input of the model, float32 (1, {channels}, {height}, {width}).\"\"\"
    image = file.copy() if isinstance(file, Image.Image) else Image.open(file)
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I") or image.mode == "F":
        {deep}
    if image.mode == "LAB":
        image = image.convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    image = ImageOps.fit(image.convert("{mode}"), ({width}, {height}), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32).reshape({height}, {width}, {channels}) / np.float32(255)
    mean, std = np.float32({mean}), np.float32({std})
    return ((pixels - mean) / std).transpose(2, 0, 1)[None]
"""
_DEEP = """values = np.asarray(image, dtype=np.float64) * 255 / {white}
        image = Image.fromarray(values.round().astype(np.uint8))"""


# What `runners.data.arrays` does; a test compares bits.
_PREPARE_ARRAY = """import numpy as np

def prepare(file):
    \"\"\"An array of pixels, {shape}, or its .npy file, as input of the model.\"\"\"
    pixels = file if isinstance(file, np.ndarray) else np.load(file)
{deep}    if pixels.shape != {shape} or pixels.dtype != np.uint8:
        raise ValueError(f"needed is uint8 {shape}, not {{pixels.dtype}} {{pixels.shape}}")
    mean, std = np.float32({mean}), np.float32({std})
    return ((pixels.astype(np.float32) / np.float32(255) - mean) / std).transpose(2, 0, 1)[None]
"""
_DEEP_ARRAY = """    if pixels.dtype != np.uint8 and pixels.dtype.kind in "iuf" and pixels.size:
        if not (pixels.min() >= 0 and pixels.max() <= {white}):
            raise ValueError("needed are values from 0 to {white}")
        pixels = (pixels * (255.0 / {white})).round().astype(np.uint8)
"""


def preparation_code(given: Preprocessing) -> str:
    """Code from an image file to the input, with plain Pillow and NumPy; from an array otherwise."""
    if not given.is_picture:
        return _PREPARE_ARRAY.format(
            shape=(given.height, given.width, given.channels),
            mean=list(given.mean),
            std=list(given.std),
            deep="" if given.white is None else _DEEP_ARRAY.format(white=given.white),
        )
    refused = 'raise ValueError("more than 8 bits a channel: no value of full intensity is known")'
    return _PREPARE.format(
        channels=given.channels,
        height=given.height,
        width=given.width,
        mode="L" if given.channels == 1 else "RGB",
        mean=list(given.mean),
        std=list(given.std),
        deep=refused if given.white is None else _DEEP.format(white=given.white),
    )


# By runtime where several run files of one format, else by format.
_USAGE = {
    "onnx": """import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
images = np.zeros({shape}, dtype=np.{dtype})  # prepared as above
scores = session.run(None, {{"{input}": images}})[0]
best = scores.argmax(axis=1)""",
    "pt2": """import torch

network = torch.export.load("{file}").module()
images = torch.zeros({shape})  # prepared as above
best = network(images).argmax(dim=1)""",
    "aotinductor": """import torch

network = torch._inductor.aoti_load_package("{file}")  # native code: load only what you trust
images = torch.zeros({shape})  # prepared as above
best = network(images).argmax(dim=1)""",
    "openvino": """import numpy as np
import openvino

core = openvino.Core()
exact = {{"INFERENCE_PRECISION_HINT": "f32"}}  # else bfloat16 where the processor has it
compiled = core.compile_model("{file}", "CPU", exact)
images = np.zeros({shape}, dtype=np.{dtype})  # prepared as above
scores = compiled(images)[0]
best = scores.argmax(axis=1)""",
    "mnn": """import MNN
import numpy as np

interpreter = MNN.Interpreter("{file}")
session = interpreter.createSession()
given = interpreter.getSessionInput(session)
interpreter.resizeTensor(given, {shape})
interpreter.resizeSession(session)
images = np.zeros({shape}, dtype=np.{dtype})  # prepared as above
plain = (MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe)
given.copyFrom(MNN.Tensor({shape}, plain[0], images, plain[1]))
interpreter.runSession(session)
found = interpreter.getSessionOutput(session)
scores = MNN.Tensor(found.getShape(), plain[0], np.zeros(found.getShape(), np.float32), plain[1])
found.copyToHostTensor(scores)
best = scores.getNumpyData().argmax(axis=1)""",
    "ncnn": """import zipfile

import ncnn
import numpy as np

zipfile.ZipFile("{file}").extractall()  # model.param and model.bin
network = ncnn.Net()
network.opt.use_fp16_storage = network.opt.use_fp16_packed = network.opt.use_fp16_arithmetic = False
network.load_param("model.param")
network.load_model("model.bin")
images = np.zeros({shape}, dtype=np.{dtype})  # prepared as above; it takes them one by one
extractor = network.create_extractor()
extractor.input(network.input_names()[0], ncnn.Mat(images[0]))
_, scores = extractor.extract(network.output_names()[0])
best = np.array(scores).argmax()""",
    "tflite": """import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter("{file}")
interpreter.allocate_tensors()
(given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()
images = np.zeros({shape}, dtype=np.{dtype})  # prepared as above
interpreter.set_tensor(given["index"], images)
interpreter.invoke()
best = interpreter.get_tensor(found["index"]).argmax(axis=1)""",
    "pte": """import torch
from executorch.runtime import Runtime

program = Runtime.get().load_program("{file}")
images = torch.zeros({shape})  # prepared as above
(scores,) = program.load_method("forward").execute([images])
best = scores.argmax(dim=1)""",
}


def _usage(card: Card) -> str:
    """Code that runs the file; where its format is another's, the runtime that does."""
    runtime, format = card.latency.runtime.partition(" ")[0], card.file.rpartition(".")[2]
    known = _USAGE.get(runtime) or _USAGE.get(format)
    if known is None:
        return f"## Use\n\n`{card.file}` is run by {card.latency.runtime}."
    one = card.input
    code = known.format(file=card.file, shape=tuple(one.shape), dtype=one.dtype, input=one.name)
    if card.answer.kind != "class":
        code = re.sub(r"best = (.*)\.argmax\(.*\)", r"answers = \1  # as said above", code)
    return f"## Use\n\n```python\n{code}\n```"


def _origin(card: Card) -> str:
    known = {name: value for name, value in card.provenance.to_json().items() if name != "recipe"}
    if "name" in card.provenance.recipe:  # the whole recipe stands in card.json
        known = {"recipe": card.provenance.recipe["name"], **known}
    lines = [f"- {name}: {_words(value)}" for name, value in known.items()]
    arch = ", ".join(f"{name}={value}" for name, value in card.arch.items())
    return "\n".join(
        ["## Provenance", "", *lines, f"- sha256 of the file: `{card.sha256}`", "", f"Arch: {arch}"]
    )


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_words(item) for item in value)
    return str(value)
