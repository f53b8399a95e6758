"""The command that tests user code before a sweep runs."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any

import typer

from tombola.cli import shared
from tombola.cli.shared import Overrides, app, guarded
from tombola.errors import ExitCode, TombolaError

Findings = Callable[[], Iterator[str]]


@app.command()
@guarded
def check(
    target: Annotated[
        str,
        typer.Argument(help="module:function, or a sweep file.", metavar="MODULE:FUNCTION|SWEEP"),
    ],
    dataset: Annotated[
        str, typer.Option(help="Dataset that shapes a network, and that scores read.")
    ] = "digits",
    overrides: Overrides = None,
) -> None:
    """Test user code on one batch: its data, its prunable parameters, and the files it reads."""
    from tasks.values import user_code

    try:
        named = not shared.is_file(target)
        tries = _of_function(target, dataset) if named else _of_sweep(target, overrides)
    except ValueError as error:
        raise TombolaError(str(error)) from None
    wrong = 0
    for name, findings in tries:
        try:
            with user_code.told(name), user_code.opened() as read:
                for line in findings():
                    typer.echo(line)
            if ":" in name:
                for path in user_code.unnoticed(name, read):
                    typer.echo(f"{name}: reads {path}, which is not part of its key")
        except ValueError as error:
            wrong += 1
            shared.complain(_plain(name, error))
    if not tries:
        typer.echo("no user code to test")
    if wrong:
        raise typer.Exit(ExitCode.BAD_INPUT)


def _plain(name: str, error: Exception) -> str:
    cause = error.__cause__
    text = str(cause if isinstance(cause, ValueError) else error)
    return text if text.startswith(name) else f"{name}: {text}"


def _of_function(name: str, dataset: str) -> list[tuple[str, Findings]]:
    """Return the tests of one function; its text tells what it is for."""
    from tasks import trial_run
    from tasks.data.batches import load
    from tasks.values import catalog, user_code
    from tasks.values.scores import Examples, Own

    use = user_code.use_of(name)
    if use == "recipe":
        from orchestrator.sweep import recipes

        return [(name, lambda: iter([f"{name}: {recipes.filled({'recipe': name})['recipe']}"]))]
    if use == "dataset":
        return [(name, lambda: trial_run.dataset(catalog.dataset(name)))]
    on = catalog.dataset(dataset)
    if use == "network":
        shaped = catalog.network(name, dataset)
        return [(name, lambda: trial_run.network(shaped, load(on)))]
    few = Examples(dataset=on, seed=0, per_class=1)
    chosen = Own(name=name, source=user_code.digest(name), examples=few)
    shaped = catalog.network("lenet_300_100", dataset)
    return [(name, lambda: trial_run.score(chosen, shaped, load(on)))]


def _of_sweep(target: str, overrides: list[str] | None) -> list[tuple[str, Findings]]:
    """Return the tests of a sweep: one for each dataset, network and score of the user."""
    from pathlib import Path

    from tasks import trial_run
    from tasks.data.batches import load
    from tasks.values.scores import Own

    tries: dict[str, tuple[str, Findings]] = {}

    def add(record: Any, findings: Findings, on: str = "") -> None:
        if ":" in record.name:
            tries.setdefault(record.key + on, (record.name, findings))

    def network_of(run: Any) -> Iterator[str]:
        return trial_run.network(run.network, load(run.dataset))

    def score_of(mask: Any) -> Iterator[str]:
        return trial_run.score(mask.score, mask.network, load(mask.score.examples.dataset))

    for trial in shared.read(Path(target), overrides).trials:
        run, mask = trial.run, trial.mask
        add(run.dataset, partial(trial_run.dataset, run.dataset))
        add(run.network, partial(network_of, run))
        if mask and isinstance(mask.score, Own):
            add(mask.score, partial(score_of, mask), mask.network.key)
    return list(tries.values())
