"""The parts of the reference that come from the code; a hook of mkdocs puts them into the pages.

A page asks for a part by a comment, `<!-- generate: commands -->`. PARTS has each part by name.
"""

import html
import re
import tempfile
import typing
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from analysis.database import connection, dictionary
from analysis.reference.index import INDEX
from analysis.selection import options as figure_options
from analysis.selection.metrics import METRICS
from orchestrator.scheduling.failures import Failure
from orchestrator.sweep.recipes import PUBLISHED
from orchestrator.sweep.schema import Grid, InitFields, RecipeFields, Sweep
from tasks.values.catalog import DATASETS, NETWORKS
from tasks.values.methods import METHODS
from tasks.values.scores import Examples
from tombola import errors
from tombola.cli import app
from tombola.store.publish import open_store

ROOT = Path(__file__).parents[1]
ASKED = re.compile(r"<!-- generate: (\w+)(?: (\w+))? -->")

Row = Iterable[object]


def table(head: Row, rows: Iterable[Row]) -> str:
    """Return a Markdown table."""
    columns = [str(name) for name in head]
    lines = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    everything = [columns, ["---"] * len(columns), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in everything)


def code(text: object) -> str:
    """Return text as inline code, or nothing for nothing; a bar would end a table's cell."""
    if "|" in str(text):
        return f"<code>{html.escape(str(text)).replace('|', '&#124;')}</code>"
    return f"`{text}`" if str(text) else ""


# ---------------------------------------------------------------- the sweep file


def sweep_fields(model: str) -> str:
    """Return the keys of a part of the sweep file: what each takes, and its default."""
    models = {"sweep": Sweep, "grid": Grid, "recipe": RecipeFields, "init": InitFields}
    described = models[model].model_fields.items()
    return table(
        ("key", "what it takes", "default"),
        ((code(name), field.description or "", _default(field)) for name, field in described),
    )


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value in (None, "", [], {}) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return code(str(value).lower() if isinstance(value, bool) else _plain(value))


def _plain(value: object) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


# ---------------------------------------------------------------- what there is

OTHER_OPTIONS = {
    "retrain": ("finetune, learning_rate or weights", "finetune; for `imp` weights"),
    "score": ("magnitude or obd", "magnitude"),
    "m": ("a whole number from 2", "4"),
}
"""Options that are no field of a record: what each takes, and its default."""


def methods() -> str:
    """Return all methods, each with the keys of a grid and the options that it takes."""
    return table(
        ("method", "in figures", "keys of a grid", "options"),
        (
            (f"[`{name}`](#{name})", entry.label, _names(entry.takes), _names(entry.options))
            for name, entry in METHODS.items()
        ),
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(code, sorted(names)))


def method(name: str) -> str:
    """Return the options of a method: what each takes, and its default."""
    entry = METHODS[name]
    records = (Examples, entry.score, *entry.other_scores, *filter(None, [entry.pattern]))
    declared = {field.name: field for record in records for field in fields(record)}
    rows = []
    for option in sorted(entry.options):
        takes, default = OTHER_OPTIONS.get(option) or _declared(declared[option])
        rows.append((code(option), takes, default))
    return table(("option", "what it takes", "default"), rows)


def _declared(field: Any) -> tuple[str, str]:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    takes = words.get(field.type) or " or ".join(map(str, typing.get_args(field.type)))
    value = field.default
    return takes, "required" if value is MISSING else str(value).lower()


def networks() -> str:
    """Return the networks, with their sizes on the images for which they were published."""
    return table(
        ("network", "prunable weights", "multiply-adds", "images of", "least side"),
        (
            (code(name), f"{facts.weights:,}", f"{facts.flops:,}", f"{facts.side} px", facts.least)
            for name, facts in NETWORKS.items()
        ),
    )


def datasets() -> str:
    """Return the datasets with their shapes and sizes."""
    return table(
        ("dataset", "image", "classes", "training", "test"),
        (
            (
                code(name),
                " × ".join(map(str, facts.input_shape)),
                facts.classes,
                f"{facts.train:,}",
                f"{facts.test:,}",
            )
            for name, facts in DATASETS.items()
        ),
    )


def recipes() -> str:
    """Return the published recipes, those of one source together."""
    sources: dict[str, list[tuple[str, Any]]] = {}
    for name, recipe in PUBLISHED.items():
        sources.setdefault(recipe.source, []).append((name, recipe))
    return "\n\n".join(f"{source}:\n\n{_of_a_source(some)}" for source, some in sources.items())


def _of_a_source(named: Iterable[tuple[str, Any]]) -> str:
    return table(
        ("recipe", "network", "dataset", "steps"),
        (
            (code(name), code(_network(one.network)), code(one.dataset), one.recipe["steps"])
            for name, one in named
        ),
    )


def _network(network: Any) -> str:
    if isinstance(network, str):
        return network
    [(name, options)] = network.items()
    return f"{{{name}: {{{', '.join(f'{k}: {v}' for k, v in options.items())}}}}}"


# ---------------------------------------------------------------- results


def tables() -> str:
    """Return every column of every table, and the macros, as an empty store has them."""
    with tempfile.TemporaryDirectory() as folder:
        open_store(Path(folder), create=True)
        with connection.connect(folder) as opened:
            entries = dictionary.entries(opened)
            macros = [row[1:] for row in connection.describe(opened) if row[0] == "macros"]
    parts = []
    for name in dict.fromkeys(entry.table_name for entry in entries):
        rows = (
            (code(entry.column_name), entry.data_type.lower(), entry.unit, entry.meaning)
            for entry in entries
            if entry.table_name == name
        )
        parts.append(f"## {name}\n\n{table(('column', 'type', 'unit', 'meaning'), rows)}")
    rows = ((code(signature), kind.lower(), meaning) for signature, kind, meaning in macros)
    parts.append(f"## Macros\n\n{table(('macro', 'gives', 'meaning'), rows)}")
    return "\n\n".join(parts)


def figures() -> str:
    """Return the figures with the options of each and their defaults."""
    return table(
        ("figure", "options beyond the common ones"),
        ((code(name), _own_options(kind.options)) for name, kind in _figures()),
    )


def _figures() -> Iterable[tuple[str, Any]]:
    return figure_options.FIGURES.items()


def _own_options(kind: type) -> str:
    common = {field.name: field.default for field in fields(figure_options.Options)}
    changed = [f for f in fields(kind) if common.get(f.name, MISSING) != f.default]
    return ", ".join(
        code(f.name)
        + (f" ({', '.join(_listed(f.default))})" if f.default not in (None, ()) else "")
        for f in changed
    )


def _listed(value: object) -> list[str]:
    return [str(item) for item in (value if isinstance(value, tuple) else (value,))]


def figure_takes() -> str:
    """Return every option of a figure with what it takes."""
    takes = {
        name: accepted.words
        for kind in figure_options.FIGURES.values()
        for name, accepted in figure_options.accepted(kind.options).items()
    }
    return table(("option", "what it takes"), ((code(n), words) for n, words in takes.items()))


def metrics() -> str:
    """Return the metrics that a figure or a table can show."""
    return table(
        ("metric", "on the axis", "what it needs"),
        ((code(name), metric.label, metric.takes) for name, metric in METRICS.items()),
    )


def published() -> str:
    """Return the published numbers that come along."""
    return table(
        ("name", "what it is", "licence"),
        ((code(name), source.title, source.licence) for name, source in INDEX.items()),
    )


def failures() -> str:
    """Return the classes of failure, and how many tries each is worth."""
    return table(("class", "tries"), ((code(failure.word), failure.tries) for failure in Failure))


# ---------------------------------------------------------------- the command line


def commands() -> str:
    """Return every command with its help, arguments and options."""
    return "\n\n".join(_command(name, command) for name, command in _every_command())


def _every_command() -> Iterable[tuple[str, Any]]:
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        yield f"tombola {name}", command
        for inner, part in getattr(command, "commands", {}).items():
            yield f"tombola {name} {inner}", part


def _command(name: str, command: Any) -> str:
    context = command.context_class(command, info_name=name)
    rows = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    described = table(
        ("option", "meaning"), ((code(left), right) for left, right in filter(None, rows))
    )
    text = " ".join((command.help or "").split())
    return f"## {name}\n\n{text}\n\n```text\n{usage}\n```\n\n{described}"


def exit_codes() -> str:
    """Return the exit codes."""
    return table(
        ("code", "name", "when"),
        ((code.value, code.name, _WHEN[code]) for code in errors.ExitCode),
    )


_WHEN = {
    errors.ExitCode.DONE: "Everything is done.",
    errors.ExitCode.TASKS_FAILED: "Some tasks failed, or a check found something (see below).",
    errors.ExitCode.BAD_INPUT: "The input is wrong. The message says where, and what is right.",
    errors.ExitCode.CLUSTER_LOST: "The Ray cluster was lost. Give the same command again.",
    errors.ExitCode.INTERRUPTED: "Interrupted. Give the same command again.",
}


def error_tree() -> str:
    """Return the tree of errors, as its module draws it."""
    tree = (errors.__doc__ or "").split("\n\n", 2)[2]
    return f"```text\n{tree.strip(chr(10))}\n```"


def root_page(name: str) -> str:
    """Return a page of the repository's root, its title and its links made those of the site."""
    text = (ROOT / f"{name.upper()}.md").read_text()
    return text.partition("\n")[2].replace("](docs/", "](")


PARTS: dict[str, Callable[..., str]] = {
    "commands": commands,
    "datasets": datasets,
    "error_tree": error_tree,
    "exit_codes": exit_codes,
    "failures": failures,
    "figure_takes": figure_takes,
    "figures": figures,
    "method": method,
    "methods": methods,
    "metrics": metrics,
    "networks": networks,
    "published": published,
    "recipes": recipes,
    "root_page": root_page,
    "sweep_fields": sweep_fields,
    "tables": tables,
}


def filled(markdown: str) -> str:
    """Return a page with the parts it asks for.

    Raises
    ------
    KeyError
        When there is no part of that name.
    """
    return ASKED.sub(lambda match: PARTS[match[1]](*filter(None, [match[2]])), markdown)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Fill in a page; mkdocs calls this for each."""
    return filled(markdown)
