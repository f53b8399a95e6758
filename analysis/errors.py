"""What can go wrong when a store is read; each message is one sentence for the user."""

from pathlib import Path


class AnalysisError(ValueError):
    """A store, query or figure that cannot be read, answered or drawn."""


class StoreError(AnalysisError):
    """A store that is missing, or a file in it that cannot be read."""


class QueryError(AnalysisError):
    """A query that is not admitted, or that the database cannot answer."""


class FigureError(AnalysisError):
    """A figure that is not known, or has nothing to show."""


class NotAllDrawn(FigureError):
    """Some figures cannot be drawn; the others are: `drawn` are their files."""

    def __init__(self, problems: list[str], drawn: list[Path]) -> None:
        super().__init__("; ".join(problems))
        self.problems, self.drawn = problems, drawn


class StatisticsError(AnalysisError):
    """Numbers that a statistic is not defined for."""


class TableError(AnalysisError):
    """A table or comparison that has nothing to show."""


class PublishedError(AnalysisError):
    """Published numbers that are not known, or cannot be used so."""


class ExploreError(AnalysisError):
    """A page that cannot be served."""
