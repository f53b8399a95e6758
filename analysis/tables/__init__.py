"""Tables for papers and READMEs: methods by densities, with tests over replicates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

Format: TypeAlias = Literal["markdown", "latex", "csv"]


def render(
    store: str | Path,
    sweep: str,
    format: Format = "markdown",
    *,
    metric: str = "accuracy",
    methods: Sequence[str] = (),
    ablations: Sequence[str] = ("none",),
    densities: Sequence[float] = (),
) -> str:
    """Return a table of a sweep as text; the same store gives the same text.

    An empty filter selects everything. LaTeX and Markdown end with a comment that has the
    provenance. CSV is tidy, with full precision and p-values.

    Raises
    ------
    StoreError
        When the store is missing or damaged, or has no such sweep.
    FigureError
        When no finished trial matches the filters.
    TableError
        When the sweep has no such metric, method or density.
    """
    from analysis.database.connection import connect, figures_of, scanning
    from analysis.figures import save
    from analysis.selection import samples, selection
    from analysis.selection.options import StepOptions
    from analysis.tables import content, formats

    options = StepOptions(methods=tuple(methods), ablations=tuple(ablations), metric=metric)
    given = {
        "metric": metric,
        "methods": [*methods],
        "ablations": [*ablations],
        "densities": [*densities],
    }
    with scanning(store), connect(store) as connection:
        figures_of(connection, sweep)  # raises if the store has no such sweep
        study = samples.read(connection, sweep, options, densities)
        about = save.about(connection, sweep, "table", given, selection.SQL, study.runs)
    write = {"markdown": formats.markdown, "latex": formats.latex, "csv": formats.tidy}[format]
    return write(content.table(study), about)
