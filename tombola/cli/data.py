"""Commands for datasets."""

from typing import Annotated

import typer

from tombola.cli import shared
from tombola.cli.shared import app, guarded
from tombola.errors import TombolaError

data = typer.Typer(help="List datasets, and download them.", no_args_is_help=True)
app.add_typer(data, name="data")


@data.command("list")
@guarded
def list_datasets() -> None:
    """List all datasets, and whether their files are here (in TOMBOLA_DATA, or ./data)."""
    from rich.table import Table

    from tasks.data import readers
    from tasks.values import catalog

    table = Table("dataset", "images", "classes", "train", "test", "files", box=None)
    for name, facts in catalog.DATASETS.items():
        shape = " x ".join(map(str, facts.input_shape))
        here = "here" if readers.present(name) else f"tombola data fetch {name}"
        counts = f"{facts.classes:,}", f"{facts.train:,}", f"{facts.test:,}"
        table.add_row(name, shape, *counts, here)
    shared.console().print(table)


@data.command("fetch")
@guarded
def fetch_dataset(name: Annotated[str, typer.Argument(help="Dataset, as sweeps name it.")]) -> None:
    """Download a dataset and compare its checksums. Only this command downloads data."""
    from tasks.data import readers

    try:
        folder = readers.fetch(name)
    except ValueError as error:
        raise TombolaError(str(error)) from None
    except OSError as error:
        reason = " ".join(str(error).split())
        raise TombolaError(f"{name} could not be downloaded: {reason}") from None
    shared.say(f"{name} is in {folder}")
