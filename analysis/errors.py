"""What can go wrong when a store is read; each message is one sentence for the user."""


class AnalysisError(ValueError):
    """A store, query or figure that cannot be read, answered or drawn."""


class QueryError(AnalysisError):
    """A query that is not admitted, or that the database cannot answer."""


class FigureError(AnalysisError):
    """A figure that is not known, or has nothing to show."""
