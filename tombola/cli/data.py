"""Commands for datasets."""

from typing import Annotated

import typer

from tombola.cli import shared
from tombola.cli.shared import app, guarded
from tombola.errors import TombolaError

data = typer.Typer(help="Datasets: what is here, and how to get the rest.", no_args_is_help=True)
app.add_typer(data, name="data")


@data.command("list")
@guarded
def list_datasets() -> None:
    """Every dataset, and whether its files are here (in TOMBOLA_DATA, or ./data)."""
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
    """Download a dataset with its checksums compared; nothing is ever fetched unasked."""
    from tasks.data import readers

    try:
        folder = readers.fetch(name)
    except ValueError as error:
        raise TombolaError(str(error)) from None
    except OSError as error:
        said = " ".join(str(error).split())
        raise TombolaError(f"{name} could not be fetched: {said}") from None
    shared.say(f"{name} is in {folder}")
