"""The command line: ``quarry``. Everything heavy is imported when a command runs, so help is instant."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from runners.cli import looking, starting
from runners.cli.artifacts import predict, verify
from runners.cli.errors import describe, usage
from runners.cli.given import compress_model
from runners.cli.headings import Headings
from runners.cli.table import tables
from runners.cli.why import why

app = typer.Typer(
    name="quarry",
    cls=Headings,
    help="Measure your device, train a supernet once, or networks alone in a given time, search under "
    "latency limits, compress what was found, and export verified models.\n\nStart with: quarry run "
    "digits, or with data of your own: quarry init DATA\n\nAny command takes --debug, which shows the "
    "traceback of an error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(tables, name="table")
starting.add_to(app)
looking.add_to(app)
app.command()(why)
app.command("compress-model")(compress_model)
app.command()(predict)
app.command()(verify)

Out = Annotated[Path | None, typer.Option("--out", help="The run's folder [default: runs/NAME].")]
Run = Annotated[Path, typer.Option("--out", help="The run's folder.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; may be given again."),
]
Seed = Annotated[
    int | None, typer.Option("--seed", help="Seed of all that is random [default: the recipe's].")
]
RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe by name, or the path of a TOML file.")
]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Workers that score networks [default: search.workers].")
]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray-address", metavar="HOST:PORT", help="Ray cluster whose workers score networks."),
]


@app.command("run")
def run_command(
    recipe: RecipeName,
    out: Out = None,
    set_: Set = None,
    seed: Seed = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Minutes for the whole run [default: the recipe's].")
    ] = None,
) -> None:
    """Do the whole job: measure, train, search, compress, export, report.

    Stopped or killed, the same command goes on where it was; finished stages are not repeated.

    \b
    Examples:
        quarry run digits
        quarry run cifar10 --set data.source=~/cifar10 --out runs/cifar
        quarry run my.toml --set search.latency_ms=2.5 --seed 1
    """
    from runners.run.sequence import start

    timed = [] if minutes is None else [f"minutes={minutes:g}"]
    start(recipe, out, [*_with_workers(set_, workers, ray_address), *timed], seed)


@app.command()
def measure(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE | import KIT_OR_CSV]",
            help="A recipe, to start a run; or import, and a table that was measured elsewhere.",
        ),
    ] = None,
    out: Out = None,
    set_: Set = None,
    seed: Seed = None,
    kit: Annotated[
        Path | None,
        typer.Option("--kit", metavar="DIR", help="Write the layers for a device without PyTorch instead."),
    ] = None,
    networks: Annotated[
        int, typer.Option(help="Networks of a kit that holds them alone, for quarry table transfer.")
    ] = 0,
) -> None:
    """Measure the layers of the space on the device, and how well they predict whole networks.

    What was trained stays: another device is another measure.profile.

    \b
    Examples:
        quarry measure digits --out runs/digits
        quarry measure --out runs/digits --set measure.profile=cpu-ort-all
        quarry measure --out runs/digits --kit kit
        quarry measure import kit --out runs/digits    (back from the device)
    """
    from runners.run.sequence import stage, start, start_kit, take_table, write_kit

    if networks and kit is None:
        raise ValueError("--networks belongs to --kit, which writes what a device without PyTorch measures")
    match words or []:
        case ["import", table]:
            if set_ or seed is not None or kit is not None:
                raise ValueError(
                    "an imported table is taken as it is: --set, --seed and --kit do not go with it"
                )
            take_table(_run_of(out), Path(table))
        case [recipe] if recipe != "import" and kit is not None:
            start_kit(recipe, out, kit, set_ or [], seed, networks=networks)
        case [recipe] if recipe != "import":
            start(recipe, out, set_ or [], seed, last="measure")
        case []:
            if kit is not None:
                write_kit(_run_of(out), kit, set_ or [], seed, networks=networks)
            else:
                stage("measure", _run_of(out), set_ or [], seed)
        case others:
            raise ValueError(
                f"quarry measure {shlex.join(others)}: write it as quarry measure RECIPE, or as "
                "quarry measure import KIT_OR_CSV"
            )


def _run_of(out: Path | None) -> Path:
    if out is None:
        raise ValueError("name a recipe to start a run, or --out to go on with one")
    return out


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(metavar="[RECIPE]", help="Needed to start a run.")] = "",
    out: Out = None,
    set_: Set = None,
    seed: Seed = None,
) -> None:
    """Train the supernet of a run, starting the run, and measuring, if that was not done.

    \b
    Examples:
        quarry train digits --out runs/digits
        quarry train --out runs/digits --set train.epochs=40
    """
    from runners.run.sequence import stage, start

    if recipe:
        start(recipe, out, set_ or [], seed, last="train")
    else:
        stage("train", _run_of(out), set_ or [], seed)


@app.command()
def search(
    out: Run,
    set_: Set = None,
    seed: Seed = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
) -> None:
    """Search the trained supernet for the best networks under the latency limit.

    What was scored before is not scored again, so another limit is answered soon.

    \b
    Examples:
        quarry search --out runs/digits --set search.latency_ms=0.1
        quarry search --out runs/digits --workers 16 --ray-address head:6379
    """
    from runners.run.sequence import stage

    stage("search", out, _with_workers(set_, workers, ray_address), seed)


def _with_workers(settings: list[str] | None, workers: int | None, ray_address: str | None) -> list[str]:
    given = {"search.workers": workers, "search.ray_address": ray_address}
    return [*(settings or []), *(f"{key}={value}" for key, value in given.items() if value is not None)]


@app.command()
def compress(out: Run, set_: Set = None, seed: Seed = None) -> None:
    """Fine-tune, prune and quantize what the search found, keeping only what pays on the device.

    \b
    Example:
        quarry compress --out runs/digits --set compress.tolerance=0.005
    """
    from runners.run.sequence import stage

    stage("compress", out, set_ or [], seed)


@app.command()
def export(out: Run, set_: Set = None) -> None:
    """Write the models with their cards, after running each on the whole test set in its own runtime.

    \b
    Example:
        quarry export --out runs/digits
    """
    from runners.run.sequence import stage

    stage("export", out, set_ or [])


@app.command()
def report(out: Run) -> None:
    """Write report.html from the records of a run, finished or not.

    \b
    Example:
        quarry report --out runs/digits
    """
    from runners.run.sequence import write_report_of

    write_report_of(out)


@app.command()
def audit(
    out: Run,
    networks: Annotated[
        int | None, typer.Option(help="Networks to train alone [default: the recipe's audit.networks, 20].")
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Epochs to train each network [default: audit.epochs, or the supernet's]."),
    ] = None,
    set_: Set = None,
    seed: Seed = None,
) -> None:
    """Say how far the supernet's ranking can be trusted: train some networks alone and compare.

    Stopped or killed, the same command goes on after the last finished network.

    \b
    Examples:
        quarry audit --out runs/digits
        quarry audit --out runs/digits --networks 40 --set audit.workers=4
    """
    from runners.run.sequence import audit as audit_run

    given = {"audit.networks": networks, "audit.epochs": epochs}
    chosen = [f"{key}={value}" for key, value in given.items() if value is not None]
    audit_run(out, [*chosen, *(set_ or [])], seed)


@app.command()
def latency(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An ONNX file, or module:function.")],
    profile: Annotated[
        str,
        typer.Option("--profile", help="A hardware profile by name or path, several with commas, or all."),
    ] = "cpu-ort",
    input_shape: Annotated[
        str,
        typer.Option(
            "--input", help="Input shape such as 3x224x224, for module:function and files that leave it open."
        ),
    ] = "",
    seconds: Annotated[float, typer.Option(help="Seconds to measure for.")] = 3.0,
) -> None:
    """Measure any model: latency with its spread, time by operator, and what to make of it.

    With --profile all it goes through every runtime that is here, in each of its number formats, on one
    thread and on all, with one image and with eight in a call.

    \b
    Examples:
        quarry latency runs/digits/artifacts/digits-3/model.onnx
        quarry latency runs/digits/artifacts/digits-3/model.onnx --profile all
    """
    from runners.tables import commands

    if profile == "all" or "," in profile:
        commands.compare_runtimes(model, profiles=profile, input_shape=input_shape, seconds=seconds)
        return
    commands.latency(model, profile=profile, input_shape=input_shape, seconds=seconds)


@app.command()
def space(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK", help="A finished network: path/to/file.py:function, or module:name."
        ),
    ],
    input_shape: Annotated[
        str, typer.Option("--input", metavar="CxHxW", help="Shape of an input image, such as 3x32x32.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="The file to write [default: FUNCTION.toml].")
    ] = None,
) -> None:
    """Propose a search space for a network as it is: widths, heads, expansion, depth and kernels.

    The file says which sizes there are to choose. Edit it, and name it in a recipe as space.network.

    \b
    Example:
        quarry space my.py:make --input 3x32x32
    """
    from runners.adopting import commands

    commands.space(network, input_shape=input_shape, out=out)


@app.command()
def doctor() -> None:
    """Say what this machine has, and what is missing for which feature."""
    from runners.cli.doctor import doctor as examine
    from runners.console import Console

    examine(Console())


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    typer.echo(installed("quarry-nas"))


def main() -> None:
    """Runs a command; errors become one message and a non-zero exit."""
    try:
        _main()
    except BrokenPipeError:  # whoever read along has seen enough, as head has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_UNREAD)


def _main() -> None:
    debug = "--debug" in sys.argv
    stopped_with = [_INTERRUPTED]

    def terminated(*_: object) -> None:
        stopped_with.append(_TERMINATED)
        raise KeyboardInterrupt

    # By SIGTERM batch systems stop work: as on Ctrl-C, a command ends the processes it started.
    signal.signal(signal.SIGTERM, terminated)
    try:
        code = app([argument for argument in sys.argv[1:] if argument != "--debug"], standalone_mode=False)
        if code == _INTERRUPTED:  # Typer catches Ctrl-C and returns this instead
            raise KeyboardInterrupt
        sys.stdout.flush()
        sys.exit(code or 0)
    except (KeyboardInterrupt, typer.Abort):
        print(f"\nstopped; go on with: {shlex.join(['quarry', *sys.argv[1:]])}", file=sys.stderr)
        sys.exit(stopped_with[-1])
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # click's own: a command, or none, without arguments
            print(error, flush=True)
            sys.exit(0)
        if isinstance(error, BrokenPipeError):
            sys.stdout.flush()  # raises again where it was our own output
        if debug:
            traceback.print_exc()
        print(f"error: {describe(error)}", file=sys.stderr)
        sys.exit(2 if usage(error) else 1)


_INTERRUPTED = 130  # the exit code of what Ctrl-C ended
_TERMINATED = 143  # and of what SIGTERM did
_UNREAD = 141  # and of what SIGPIPE would have
