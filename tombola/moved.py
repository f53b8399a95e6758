"""Import modules by their old names, for notebooks and users' files."""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

MOVED = {
    "analysis.comparisons": "analysis.selection.comparisons",
    "analysis.errors": "tombola.errors",
    "analysis.results": "analysis.database.connection",
    "analysis.samples": "analysis.selection.samples",
    "orchestrator.study": "orchestrator.running.study",
    "tasks.catalog": "tasks.values.catalog",
    "tasks.datasets": "tasks.data.readers",
    "tasks.pulse": "tasks.heartbeat",
}
"""Old name → new name of the modules that the documents of version 0.1 named."""


class _Finder(MetaPathFinder, Loader):
    """Import a module by its old name: return the new module, and warn."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(name, self) if name in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        message = f"{old} has moved to {MOVED[old]}"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        sys.modules[old] = import_module(MOVED[old])


def install() -> None:
    """Allow imports by old names in this process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
