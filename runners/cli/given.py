"""The command for a model that one has already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compress_model(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK", help="A trained network: path/to/file.py:function, or module:name."
        ),
    ],
    data: Annotated[
        str,
        typer.Option("--data", help="Labelled images: a folder train/CLASS/*.jpg, parquet, or digits."),
    ],
    input_shape: Annotated[
        str,
        typer.Option("--input", metavar="CxHxW", help="Shape of an image, 3x32x32 [default: the typical]."),
    ] = "",
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="Weights as safetensors [default: those the function gives]."),
    ] = None,
    latency_ms: Annotated[
        float | None, typer.Option("--latency-ms", help="Latency limit of a call, in ms.")
    ] = None,
    speedup: Annotated[
        float | None, typer.Option("--speedup", help="Times as fast that the file has to be.")
    ] = None,
    size_mb: Annotated[float | None, typer.Option("--size-mb", help="Size limit of the file, in MB.")] = None,
    accuracy_drop: Annotated[
        float | None, typer.Option("--accuracy-drop", help="Points of accuracy that may be lost.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The job's folder [default: runs/FUNCTION].")
    ] = None,
    profile: Annotated[
        str, typer.Option("--profile", help="Hardware profile that files are for, by name or path.")
    ] = "cpu-ort",
    mean: Annotated[
        str,
        typer.Option(help="Means of the channels it was trained with, 0.5,0.5,0.5 [default: the data's]."),
    ] = "",
    std: Annotated[str, typer.Option(help="Deviations of the channels, likewise.")] = "",
    crop_padding: Annotated[
        int, typer.Option("--crop-padding", help="Pixels of padding before random crops, as augmentation.")
    ] = 0,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror images at random, as augmentation.")] = False,
    networks: Annotated[
        int, typer.Option("--networks", help="Networks that are cut and trained, at most.")
    ] = 3,
    epochs: Annotated[int, typer.Option("--epochs", help="Epochs to train each of them.")] = 10,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", help="Peak learning rate of that training.")
    ] = 3e-3,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images in an optimizer step.")] = 128,
    importance: Annotated[str, typer.Option("--importance", help="Criterion that ranks channels.")] = "l2",
    device: Annotated[str, typer.Option("--device", help="PyTorch device to train on.")] = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Seed of all that is random.")] = 0,
) -> None:
    """Compress a network that you have, on your data, to a latency, a size or an accuracy.

    It is cut to several shares of its channels, trained again with the network as it was as the teacher, and
    quantized. Out come a front of verified files, cards and a report. Stopped or killed, the same command
    goes on where it was.

    \b
    Examples:
        quarry compress-model my.py:make --weights w.safetensors --data photos --latency-ms 3
        quarry compress-model my.py:make --data digits --input 1x8x8 --accuracy-drop 0.5
    """
    from runners.compressing.commands import compress_given
    from runners.compressing.goal import Goal
    from runners.compressing.options import Options, numbers, shape_of

    name = network.rpartition(":")[2]
    options = Options(
        name=name,
        profile=profile,
        input_shape=shape_of(input_shape) if input_shape else None,
        mean=numbers("--mean", mean),
        std=numbers("--std", std),
        crop_padding=crop_padding,
        flip=flip,
        networks=networks,
        importance=importance,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        device=device,
        seed=seed,
    )
    goal = Goal(latency_ms=latency_ms, speedup=speedup, size_mb=size_mb, accuracy_drop=accuracy_drop)
    compress_given(
        network, weights=weights, data=data, goal=goal, options=options, out=out or Path("runs") / name
    )
