"""`mho fit`: a device from measured pulse trains."""

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

import mho

from ._options import writable


def fit(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv",
            help="Columns `pulses` (signed) or `direction`, and `weight` or `conductance [uS]`.",
        ),
    ],
    kind: Annotated[
        str, typer.Option(help="Kind of device; `measured`: a table of steps, no formula.")
    ] = "soft_bounds",
    fixed: Annotated[
        list[str] | None,
        typer.Option("--fix", metavar="FIELD=VALUE", help="A field that is known: `--fix low=-1`."),
    ] = None,
    free: Annotated[
        list[str] | None,
        typer.Option("--free", metavar="FIELD", help="Fit also this field."),
    ] = None,
    zero: Annotated[float | None, typer.Option(help="Value at weight 0.")] = None,
    scale: Annotated[float | None, typer.Option(help="Value per weight of 1.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Nodes of tables.")] = None,
    restarts: Annotated[int, typer.Option(help="Searches, of which the best counts.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of their starts.")] = 0,
    out: Annotated[
        Path | None, typer.Option(callback=writable, help="Write the hardware: FILE.yaml.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(callback=writable, help="Draw it: FILE.png, .svg or .pdf.")
    ] = None,
) -> None:
    """Fit a pulse response to measured pulse trains."""
    options: dict[str, Any] = {"zero": zero, "scale": scale}
    if nodes is not None:
        options["nodes"] = nodes
    if kind == "measured":
        if fixed or free:
            raise typer.BadParameter("a measured table has nothing to fix or to fit.")
        found: Any = mho.measured_response(file, **options)
    else:
        known = dict(_pair(text) for text in fixed or ())
        options |= {"free": free or (), "restarts": restarts, "seed": seed}
        found = mho.fit_response(file, kind, fixed=known, **options)
    typer.echo(found.table())
    for path, write in ((out, found.to_yaml), (plot, found.plot)):
        if path is not None:
            write(path)
            typer.echo(f"wrote {path}")


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r} is not FIELD=VALUE.", param_hint="--fix")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise typer.BadParameter(f"{value!r} is not a value.", param_hint="--fix") from None
