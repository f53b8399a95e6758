"""Import a user's files under names of their own, beside packages of the same names.

`analysis.py` of a user's becomes the module `tombola_own.analysis`: it hides no package, and
none hides it. What its files import of each other is found there, too. A file that was
edited since is imported anew.
"""

import builtins
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tasks.values.user_code import finding

PREFIX = "tombola_own"

_stamps: dict[Path, finding.Stamp] = {}
_folders: list[Path] = []


def module(found: finding.Module) -> ModuleType:
    """Import a module: a user's under its private name, another by its own."""
    if found.installed:
        return importlib.import_module(found.name)
    _refresh()
    return importlib.import_module(f"{PREFIX}.{found.name}")


def _refresh() -> None:
    """Forget the user's modules where another folder is meant now, or a file has changed."""
    changed = [finding.here()] != _folders or any(
        finding.stamp(p) != was for p, was in _stamps.items()
    )
    if changed or PREFIX not in sys.modules:
        for name in [name for name in sys.modules if name.partition(".")[0] == PREFIX]:
            del sys.modules[name]
        _stamps.clear()
        _folders[:] = [finding.here()]
        root = ModuleType(PREFIX, "Modules of the user's.")
        root.__path__ = []
        sys.modules[PREFIX] = root
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    folder = str(finding.here())
    if folder not in sys.path:
        sys.path.append(folder)  # for what a user's code imports by a computed name


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules below PREFIX where `finding` finds them."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - finding knows where
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec whose loader gives the module our `__import__`."""
        prefix, _, name = fullname.partition(".")
        found = finding.find(name) if prefix == PREFIX and name else None
        if found is None or found.installed:
            return None
        folders = [str(found.folder)] if found.folder else None
        if found.path is None:
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = folders
            return spec
        loader = _Loader(fullname, str(found.path))
        return importlib.util.spec_from_file_location(
            fullname, found.path, loader=loader, submodule_search_locations=folders
        )


class _Loader(importlib.machinery.SourceFileLoader):
    """Runs a user's file. Compiled anew: a cache tells edits within a second by size alone."""

    def get_code(self, fullname: str) -> Any:  # noqa: ARG002
        """Compile the file as it is now."""
        path = Path(self.path)
        _stamps[path] = finding.stamp(path)
        return self.source_to_code(path.read_bytes(), self.path)

    def exec_module(self, module: ModuleType) -> None:
        """Run the file."""
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


def _import(
    name: str,
    globals: Any = None,
    locals: Any = None,
    fromlist: Any = (),
    level: int = 0,
) -> Any:
    """Do what `import` does in a user's file."""
    found = finding.find(name, imported=True) if level == 0 else None
    if found is None or found.installed:
        return builtins.__import__(name, globals, locals, fromlist, level)
    private = f"{PREFIX}.{name}"
    importlib.import_module(private)
    if not fromlist:
        return sys.modules[f"{PREFIX}.{name.partition('.')[0]}"]
    return builtins.__import__(private, globals, locals, fromlist, 0)
