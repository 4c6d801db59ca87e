"""`mho schema`: the JSON schema of hardware files."""

import json

import typer

import mho


def schema() -> None:
    """Print the JSON schema of a hardware file, for editors and forms."""
    typer.echo(json.dumps(mho.json_schema(mho.Hardware), indent=2, ensure_ascii=False))
