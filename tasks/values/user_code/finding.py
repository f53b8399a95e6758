"""Find a module's file without importing anything, and say whose it is.

A user's files win over installed packages of the same name, as beside a script. The folder
where the command was given comes first. The packages of Tombola itself are no user's files.
"""

import importlib.machinery
import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = "TOMBOLA_FOLDER"
"""Names the folder where the command was given, for workers that run in another."""

PRODUCT = ("tombola", "tasks", "orchestrator", "analysis")
_SOURCE = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Module:
    """A module that can be imported. `path` is None for a folder without `__init__.py`.

    `folder` holds the modules of a package, else None. `installed`: neither it nor what it
    imports is a user's own file.
    """

    name: str
    path: Path | None
    folder: Path | None
    installed: bool


def here() -> Path:
    """Return the folder where the command was given."""
    return Path(os.environ.get(FOLDER) or Path.cwd())


def find(name: str, *, imported: bool = False) -> Module | None:
    """Find a module by its dotted name; None where there is none.

    Where it is `imported` by a statement in a user's file, `tombola` and `tasks` are Tombola's.
    """
    parts = name.split(".")
    folders = [] if imported and parts[0] in ("tombola", "tasks") else [here(), *_user_folders()]
    bare: Module | None = None
    for folder in folders:
        found = _in_folder(name, parts, folder)
        if found and found.path and not _is_product(found.path):
            return found
        bare = bare or (found if found and not found.path else None)
    return _by_python(name, parts) or bare


def below(folder: Path, package: str) -> list[str]:
    """Name the modules in a folder, and in the packages below it."""
    names: list[str] = []
    for path in sorted(folder.iterdir()):
        name = f"{package}.{path.stem}" if package else path.stem
        if path.suffix == ".py" and path.stem.isidentifier() and path.stem != "__init__":
            names.append(name)
        elif (path / "__init__.py").is_file() and path.name.isidentifier():
            names += [name, *below(path, name)]
    return names


Stamp = tuple[int, int] | None


def stamp(path: Path) -> Stamp:
    """Return what changes when a file does: its time and its size; None where it is gone."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size


def is_installed(path: Path) -> bool:
    """Return whether a file belongs to Python, an installed package or Tombola."""
    return _is_product(path) or any(path.is_relative_to(root) for root in _installed_roots())


def _in_folder(name: str, parts: list[str], folder: Path) -> Module | None:
    *above, leaf = parts
    for part in above:
        folder /= part
    package, module = folder / leaf / "__init__.py", folder / f"{leaf}.py"
    if package.is_file():
        return Module(name, package, folder / leaf, installed=False)
    if module.is_file():
        return Module(name, module, None, installed=False)
    if (folder / leaf).is_dir():
        return Module(name, None, folder / leaf, installed=False)
    return None


def _by_python(name: str, parts: list[str]) -> Module | None:
    """Ask Python's finders in turn for each part, which imports no package on the way."""
    path, spec = None, None
    for end in range(1, len(parts) + 1):
        spec = _spec(".".join(parts[:end]), path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or [])
    assert spec is not None
    file = Path(spec.origin) if spec.origin and Path(spec.origin).is_file() else None
    if file is None and isinstance(frozen := getattr(spec.loader_state, "filename", None), str):
        file = Path(frozen)
    folder = Path(path[0]) if path else None
    standard = parts[0] in sys.stdlib_module_names
    known = standard or file is None or is_installed(file) or file.suffix != ".py"
    return Module(name, file, folder, installed=known and (file is not None or standard))


def _spec(name: str, path: list[str] | None) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except (ImportError, AttributeError, ValueError):
            continue
        if spec is not None:
            return spec
    return None


def _user_folders() -> Iterator[Path]:
    """Yield the folders where Python looks and nothing is installed: PYTHONPATH, mostly."""
    for entry in sys.path:
        folder = Path(entry or ".").resolve()
        if folder.is_dir() and folder != _bin() and not is_installed(folder):
            yield folder


def _is_product(path: Path) -> bool:
    return any(path.is_relative_to(_SOURCE / name) for name in PRODUCT)


@lru_cache(maxsize=1)
def _installed_roots() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    roots = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    roots += [*site.getsitepackages(), site.getusersitepackages()]
    written = {Path(root) for root in roots}
    return tuple(written | {root.resolve() for root in written})


@lru_cache(maxsize=1)
def _bin() -> Path:
    return Path(sys.executable).parent.resolve()
