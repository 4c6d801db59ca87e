"""The command and its parts; an error of the library is one message and exit code 2."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import mho

from ._cost import cost, place
from ._demo import demo
from ._diagnose import diagnose
from ._diff import diff
from ._evaluate import evaluate
from ._explain import explain
from ._fit import fit
from ._mvm_error import mvm_error
from ._presets import presets
from ._schema import schema
from ._sweep import sweep


class Messages(TyperGroup):
    """A group of commands that says what went wrong instead of showing a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a traceback is left for what is not an error of the library."""
        try:
            return super().invoke(ctx)
        except mho.MhoError as error:
            typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=Messages,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(evaluate)
app.command()(diagnose)
app.command("mvm-error")(mvm_error)
app.command()(cost)
app.command()(place)
app.command()(sweep)
app.add_typer(presets, name="presets")
app.command()(explain)
app.command()(diff)
app.command()(fit)
app.command()(schema)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mho {mho.__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version.")
    ] = False,
) -> None:
    """How accurate is a PyTorch model on analog in-memory hardware, today and in a year?"""


def main() -> None:
    """Run the command."""
    app(prog_name="mho")
