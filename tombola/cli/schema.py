"""The command that prints the JSON schema of a sweep file."""

import json
from dataclasses import fields

import typer

from tombola.cli.shared import app, guarded


@app.command()
@guarded
def schema() -> None:
    """Print the JSON schema of a sweep file, for editors.

    VS Code completes and checks sweep files with it: save it as sweep.schema.json and begin a
    file with `# yaml-language-server: $schema=sweep.schema.json`.
    """
    from analysis.selection.options import FIGURES
    from orchestrator.sweep.json_schema import json_schema

    options = {name: [f.name for f in fields(kind.options)] for name, kind in FIGURES.items()}
    typer.echo(json.dumps(json_schema(options), indent=2, ensure_ascii=False))
