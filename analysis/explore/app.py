"""The page as a marimo app: cells, and the choices they depend on. snapshot.py has the contents.

The snapshot of the store is state that changes only when the store does. So a page that checks the
store every few seconds draws only what changed, and the user's choices stay.
"""

import marimo

app = marimo.App(width="medium", app_title="Tombola", css_file="style.css")

with app.setup:
    from collections import defaultdict
    from collections.abc import Callable
    from datetime import UTC, datetime
    from functools import partial
    from pathlib import Path
    from types import SimpleNamespace
    from typing import Any

    import marimo as mo

    from analysis.database import sql
    from analysis.explore import markup
    from analysis.explore.snapshot import Asked, Filter, Snapshot
    from tombola.errors import TombolaError
    from tombola.store import arrow

    STORE = Path(str(mo.cli_args()["store"]))
    MOST_CURVES = 12
    QUESTION = """SELECT method, ablation, density, avg(accuracy) AS accuracy, count(*) AS n
FROM trials WHERE status = 'done'
GROUP BY ALL ORDER BY method, ablation, density DESC"""

    def attempt(answer: Callable[[], Any]) -> Any:
        """Return the answer, or its error in one line."""
        try:
            return answer()
        except TombolaError as error:
            return mo.callout(mo.Html(markup.line(str(error))), kind="warn")

    def listed(rows: Any) -> Any:
        """Return rows as a table that can be sorted and searched."""
        return mo.ui.table(
            rows, selection=None, show_data_types=False, show_column_summaries=False, page_size=10
        )


@app.cell
def _states() -> Any:
    every = mo.ui.refresh(options=["2s", "5s", "30s"], default_interval="5s")
    get_seen, set_seen = mo.state(attempt(lambda: Snapshot(STORE)))
    get_sweeps, set_sweeps = mo.state(dict[str, Asked]())
    # No cell depends on `held`: choices by sweep, which stay when a cell is drawn again.
    held = SimpleNamespace(sweep=None, seen=None, of=defaultdict(dict))
    mo.hstack([mo.md("# Tombola"), every], align="center")
    return every, get_seen, get_sweeps, held, set_seen, set_sweeps


@app.cell
def _look(
    every: Any, get_seen: Any, get_sweeps: Any, held: Any, set_seen: Any, set_sweeps: Any
) -> Any:
    every.value  # noqa: B018 (each tick of it runs this cell)
    held.seen = get_seen()
    if getattr(held.seen, "mark", None) != arrow.mark(STORE):
        held.seen = attempt(lambda: Snapshot(STORE))
        set_seen(held.seen)
    if isinstance(held.seen, Snapshot) and held.seen.sweeps != get_sweeps():
        set_sweeps(held.seen.sweeps)
    return


@app.cell
def _which_sweep(get_sweeps: Any, held: Any) -> Any:
    _names = list(get_sweeps())
    sweep = mo.ui.dropdown(
        _names,
        value=held.sweep if held.sweep in _names else next(iter(_names), None),
        on_change=lambda name: setattr(held, "sweep", name),
        label="Sweep",
        searchable=True,
        allow_select_none=False if _names else None,
    )
    sweep  # noqa: B018 (shown)
    return (sweep,)


@app.cell
def _progress(every: Any, get_seen: Any, sweep: Any) -> Any:
    every.value  # noqa: B018 (how long ago it was grows)
    mo.stop(not isinstance(get_seen(), Snapshot), get_seen())
    mo.stop(sweep.value is None, mo.Html(markup.line(f"No sweep was launched in {STORE} yet.")))

    def _shown() -> Any:
        seen = get_seen()
        heard = markup.heard(seen.heard(sweep.value), datetime.now(UTC))
        return mo.Html(
            markup.progress(seen.progress(), sweep.value)
            + markup.table(f"Tasks of the latest launch, {heard}", seen.tasks(sweep.value))
            + markup.table("Failures", seen.failures(sweep.value))
        )

    attempt(_shown)
    return


@app.cell
def _filters(get_sweeps: Any, held: Any, sweep: Any) -> Any:
    mo.stop(sweep.value is None)
    _chosen = held.of[sweep.value]
    filters = mo.ui.dictionary(
        {
            name: mo.ui.multiselect(
                values,
                value=[value for value in values if value in _chosen.get(name, ())],
                label=name.capitalize(),
                full_width=True,
            )
            for name, values in vars(get_sweeps()[sweep.value].everything).items()
        },
        on_change=_chosen.update,
    )
    _shown = "".join(element.text for element in filters.elements.values())
    mo.vstack([mo.md("## Trials"), mo.Html(f'<div class="filters">{_shown}</div>')])
    return (filters,)


@app.cell
def _passing(filters: Any) -> Any:
    passing = Filter(**filters.value)
    return (passing,)


@app.cell
def _trials(get_seen: Any, passing: Any, sweep: Any) -> Any:
    mo.stop(not isinstance(get_seen(), Snapshot))
    attempt(lambda: listed(get_seen().trials(sweep.value, passing)))
    return


@app.cell
def _which_figure(get_sweeps: Any, held: Any, sweep: Any) -> Any:
    mo.stop(sweep.value is None)
    _figures, _chosen = get_sweeps()[sweep.value].figures, held.of[sweep.value]
    _titles = [title for title, entry in _figures.items() if entry == _chosen.get("figure")]
    figure = mo.ui.dropdown(
        _figures,
        value=next(iter(_titles or _figures)),
        on_change=partial(_chosen.__setitem__, "figure"),
        allow_select_none=False,
    )
    mo.vstack([mo.md("## Figures"), figure])
    return (figure,)


@app.cell
def _figure(figure: Any, get_seen: Any, passing: Any, sweep: Any) -> Any:
    mo.stop(not isinstance(get_seen(), Snapshot))
    attempt(lambda: mo.Html(markup.picture(get_seen().figure(sweep.value, figure.value, passing))))
    return


@app.cell
def _which_trials(held: Any, passing: Any, sweep: Any) -> Any:
    mo.stop(not isinstance(held.seen, Snapshot))
    _named, _chosen = held.seen.trained(sweep.value, passing), held.of[sweep.value]
    curves = mo.ui.multiselect(
        _named,
        value=[label for label, number in _named.items() if number in _chosen.get("curves", ())],
        on_change=partial(_chosen.__setitem__, "curves"),
        label="Trials",
        full_width=True,
        max_selections=MOST_CURVES,
    )
    mo.vstack([mo.md("## Learning curves"), curves])
    return (curves,)


@app.cell
def _learning(curves: Any, get_seen: Any, sweep: Any) -> Any:
    mo.stop(not isinstance(get_seen(), Snapshot))
    mo.stop(not curves.value, mo.md(f"Choose up to {MOST_CURVES} trials."))
    attempt(lambda: mo.Html(markup.picture(get_seen().learning(sweep.value, curves.value))))
    return


@app.cell
def _question() -> Any:
    query = mo.ui.code_editor(QUESTION, language="sql", min_height=90, show_copy_button=False).form(
        submit_button_label="Ask", bordered=False
    )
    mo.vstack([mo.md("## SQL"), query])
    return (query,)


@app.cell
def _answer(query: Any) -> Any:
    mo.stop(query.value is None)
    attempt(lambda: listed(sql.query(STORE, query.value)))
    return


@app.cell
def _columns(held: Any, sweep: Any) -> Any:
    mo.stop(not isinstance(held.seen, Snapshot), sweep)
    mo.accordion({"Tables and columns": listed(held.seen.columns())})
    return


if __name__ == "__main__":
    app.run()
