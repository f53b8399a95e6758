"""Tables for papers and READMEs: methods by densities, with what replicates can tell."""

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
    """A table of a sweep as text, the same from the same store; empty filters let all pass.

    LaTeX and Markdown end with a comment that says where the numbers come from; CSV is tidy,
    with full precision and p-values.

    Raises
    ------
    StoreError
        When the store is missing, damaged, or does not know the sweep.
    FigureError
        When no trial that the filters let pass is done.
    TableError
        When the metric, a method or a density is none that the sweep has.
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
        figures_of(connection, sweep)  # refuses a sweep that the store does not know
        study = samples.read(connection, sweep, options, densities)
        about = save.about(connection, sweep, "table", given, selection.SQL, study.runs)
    write = {"markdown": formats.markdown, "latex": formats.latex, "csv": formats.tidy}[format]
    return write(content.table(study), about)
