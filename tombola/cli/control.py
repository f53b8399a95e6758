"""Commands that control a running launch, also from another machine."""

from typing import Any

from tombola.cli import shared
from tombola.cli.shared import DEFAULT_STORE, Store, SweepName, Where, app, guarded
from tombola.errors import TombolaError


@app.command()
@guarded
def cancel(sweep: SweepName, store: Store = DEFAULT_STORE, where: Where = None) -> None:
    """Cancel a running sweep, or a part of it. Running tasks finish."""
    _ask("cancel", sweep, store, where)


@app.command()
@guarded
def pause(sweep: SweepName, store: Store = DEFAULT_STORE, where: Where = None) -> None:
    """Pause a running sweep, or a part of it, until it is resumed. Running tasks finish."""
    _ask("pause", sweep, store, where)


@app.command()
@guarded
def resume(sweep: SweepName, store: Store = DEFAULT_STORE, where: Where = None) -> None:
    """Resume a paused sweep, or a part of it."""
    _ask("resume", sweep, store, where)


@app.command()
@guarded
def retry(sweep: SweepName, store: Store = DEFAULT_STORE, where: Where = None) -> None:
    """Run failed and cancelled tasks of a running sweep again, before it ends."""
    _ask("retry", sweep, store, where)


def _ask(verb: Any, sweep: str, store: str, where: str | None) -> None:
    from analysis.database import sql
    from tombola.store import requests

    root, name = shared.opened(store), shared.name_of(sweep)
    trials = shared.selected(root, name, where)
    current = sql.query(root, "SELECT sweep, revision FROM sweeps WHERE current").to_pylist()
    revision = {row["sweep"]: row["revision"] for row in current}[name]
    answered = False
    for answer in requests.ask(root, name, revision, verb, trials):
        shared.say(answer)
        answered = True
    if not answered:
        again = (
            f"tombola run {shared.words(sweep if shared.is_file(sweep) else f'{name}.yaml', root)}"
        )
        cure = f"; `{again}` runs failed tasks again" if verb == "retry" else ""
        raise TombolaError(f"no launch of {name} answered; it seems that none is running{cure}")
