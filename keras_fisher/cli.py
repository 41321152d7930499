"""The command line, `keras-fisher`.

TensorFlow takes seconds to start, so that no more than what reads the arguments is imported up here.
"""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from typing import Annotated, NoReturn

import typer

import keras_fisher
from keras_fisher.checks import message

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)


def show_version(wanted: bool) -> None:
    """Prints the version and ends, if that is `wanted`."""
    if wanted:
        typer.echo(f"keras-fisher {keras_fisher.__version__}")
        raise typer.Exit


@app.callback()
def keras_fisher_command(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """How fragile is a Keras classifier at an image, in which directions, and has it been pushed?"""


@app.command()
def demo(
    output: Annotated[
        pathlib.Path, typer.Option(help="The figure to write; its ending says in which format.")
    ] = pathlib.Path("fisher_demo.png"),
    num_images: Annotated[
        int, typer.Option(min=50, max=1000, help="How many of the packaged MNIST test images to take.")
    ] = 1000,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Of the noise, the split and the forests.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Attacks a Keras net along its most fragile direction, on real digits, and detects the attack."""
    check_output(output)
    from rich.console import Console  # noqa: PLC0415

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # A λ too many for an old code page is no reason to stop.
    console = Console()
    with contextlib.nullcontext() if quiet else console.status("Starting TensorFlow"), held_back_stderr():
        # oneDNN is the default on the newest processors only. On the others it halves the time of the demo.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import tensorflow as tf  # noqa: PLC0415

        from keras_fisher.demo import print_report, run_demo, write_figure  # noqa: PLC0415

        tf.config.list_logical_devices()  # Looks for a GPU, and has as much to say as the import.

    report = run_demo(num_images, seed, progress=not quiet)
    print_report(report, console)
    try:
        with contextlib.nullcontext() if quiet else console.status("Drawing"):
            write_figure(report, output)
    except OSError as error:
        refuse(f"{output} could not be written: {error}", code=1)
    console.print(f"Figure: {output}", soft_wrap=True, markup=False, highlight=False)


def check_output(output: pathlib.Path) -> None:
    """Refuses a path at which no figure can be written, before any work is done."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415

    formats = sorted(FigureCanvasAgg.get_supported_filetypes())
    if output.suffix[1:].lower() not in formats:
        refuse(message("--output", f"end in one of .{', .'.join(formats)}", f"'{output}'"))
    if output.is_dir():
        refuse(message("--output", "name a file", f"the folder '{output}'", "Add a name, such as demo.png."))
    if not output.parent.is_dir():
        refuse(message("--output", "lie in a folder that exists", f"'{output}'", "Make the folder first."))
    try:
        # The permissions alone do not tell: a file system may be read-only, and root may write anywhere else.
        tempfile.TemporaryFile(dir=output.parent).close()
    except OSError as error:
        refuse(
            message("--output", "lie in a folder that can be written to", f"'{output}' ({error.strerror})")
        )


def refuse(reason: str, code: int = 2) -> NoReturn:
    """Ends the command with one line on the standard error."""
    typer.echo(f"Error: {reason}", err=True)
    raise typer.Exit(code)


@contextlib.contextmanager
def held_back_stderr() -> Iterator[None]:
    """Holds back what is written to file descriptor 2, and shows it only if the work within fails.

    TensorFlow's libraries write there whatever TF_CPP_MIN_LOG_LEVEL says, a screenful where there is no GPU.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        shown = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            sys.stderr.flush()
            held.seek(0)
            os.write(shown, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)
