"""Commands to a launch that runs elsewhere."""

from typing import Any

from tombola.cli import shared
from tombola.cli.shared import DEFAULT_STORE, Store, SweepName, Where, app, guarded
from tombola.errors import TombolaError


@app.command()
@guarded
def cancel(sweep: SweepName, store: Store = DEFAULT_STORE, where: Where = None) -> None:
    """Start no more tasks of a running sweep, or of a part of it; what runs may end."""
    _ask("cancel", sweep, store, where)


@app.command()
@guarded
def pause(sweep: SweepName, store: Store = DEFAULT_STORE, where: Where = None) -> None:
    """Hold back a running sweep, or a part of it, until it is resumed."""
    _ask("pause", sweep, store, where)


@app.command()
@guarded
def resume(sweep: SweepName, store: Store = DEFAULT_STORE, where: Where = None) -> None:
    """Let a paused sweep, or a part of it, go on."""
    _ask("resume", sweep, store, where)


@app.command()
@guarded
def retry(sweep: SweepName, store: Store = DEFAULT_STORE, where: Where = None) -> None:
    """Try the failed and cancelled tasks of a running sweep again, before it ends."""
    _ask("retry", sweep, store, where)


def _ask(verb: Any, sweep: str, store: str, where: str | None) -> None:
    from analysis.database import sql as reading
    from tombola.store import requests

    root, name = shared.opened(store), shared.name_of(sweep)
    trials = shared.selected(root, name, where)
    current = reading.query(root, "SELECT sweep, revision FROM sweeps WHERE current").to_pylist()
    revision = {row["sweep"]: row["revision"] for row in current}[name]
    answered = False
    for answer in requests.ask(root, name, revision, verb, trials):
        shared.say(answer)
        answered = True
    if not answered:
        again = (
            f"tombola run {shared.words(sweep if shared.is_file(sweep) else f'{name}.yaml', root)}"
        )
        cure = f"; `{again}` tries again what failed" if verb == "retry" else ""
        raise TombolaError(f"no launch of {name} answered: none seems to run{cure}")
