"""A user's own code by name: `module:function`, found without touching this repository.

The name and a digest of what the function depends on are part of the key, so that an edited
function is other work (tasks.values.user_code.reached). Only `load` and `call` run it.
"""

import difflib
import json
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.values import trust
from tasks.values.user_code import finding, loading, reached, signature, syntax
from tasks.values.user_code.finding import FOLDER as FOLDER
from tasks.values.user_code.finding import Module
from tasks.values.user_code.reached import Reached
from tasks.values.user_code.signature import ARGUMENTS, Use
from tasks.values.user_code.signature import Signature as Signature
from tasks.values.user_code.watching import opened as opened

Options = tuple[tuple[str, str], ...]
"""Options of a user's function as they stand in a key: names, and values as JSON."""

_Known = tuple[Reached, list[tuple[Path, finding.Stamp]]]
_known: dict[tuple[Path | None, str, Path], _Known] = {}
_functions: dict[tuple[str, str, Path], Callable[..., Any]] = {}
_by_bytes: frozenset[str] = frozenset()


class OwnError(ValueError):
    """A user's code did not do what it was called for; the message says where."""


# ---------------------------------------------------------------- what the text says


def check(name: str, use: Use) -> None:
    """Refuse a name that means no function of this use. Runs nothing of the user's.

    Raises
    ------
    ValueError
        When there is no such module or function, or it takes other arguments.
    """
    found, wanted = signature_of(name, use), ARGUMENTS[use]
    if found and found.most is not None and found.most < len(wanted):
        takes = f"{found.most} argument{'s' * (found.most != 1)}" if found.most else "no argument"
        raise ValueError(f"{name} takes {takes}; a {use} is called with ({', '.join(wanted)})")


def signature_of(name: str, use: Use) -> Signature | None:
    """Read how `module:function` is defined; None where its text does not say it."""
    module, function = _find(name)
    return signature.signature(module, function, use)


def options(name: str, use: Use, given: dict[str, Any]) -> dict[str, Any]:
    """Check a sweep file's options of a user's function, and give them their types.

    Raises
    ------
    ValueError
        For an unknown or missing option, or a value of another type.
    """
    return signature.options(name, signature_of(name, use), given)


def written(name: str, use: Use, typed: dict[str, Any]) -> Options:
    """Write options as they stand in a key, without those that are the default."""
    return signature.written(signature_of(name, use), typed)


def digest(name: str) -> str:
    """First 16 hex digits of the SHA-256 of what `module:function` depends on.

    Raises
    ------
    ValueError
        When there is no such module or function.
    """
    about = depends_on(name)
    return about.of_bytes if name in _by_bytes and about.of_bytes else about.digest


@contextmanager
def as_bytes(names: Iterable[str]) -> Iterator[None]:
    """Meanwhile, digest these names as earlier versions did: by the bytes of their file."""
    global _by_bytes  # noqa: PLW0603 - planning asks through many functions
    before, _by_bytes = _by_bytes, frozenset(names)
    try:
        yield
    finally:
        _by_bytes = before


def depends_on(name: str) -> Reached:
    """Work out what `module:function` depends on; once, until one of its files changes.

    Raises
    ------
    ValueError
        When there is no such module or function, or a file of it cannot be read.
    """
    module, function = _find(name)
    same = module.path, function, finding.here()
    found = _known.get(same)
    if found is None or any(finding.stamp(path) != was for path, was in found[1]):
        about = reached.reached(module, function)
        stamps = [(path, finding.stamp(path)) for path in (*about.files, *about.declared)]
        found = _known[same] = about, stamps
    return found[0]


def undeclared(names: Iterable[str]) -> list[str]:
    """A line for each file that a user's code mentions and that is in no key."""
    lines: dict[str, None] = {}
    for name in names:
        about = depends_on(name)
        folders = {path.parent for path in about.files}
        named = {
            text
            for text in about.texts
            for folder in folders
            if 0 < len(text) < 200 and "\0" not in text and _is_data(folder / text)
        }
        known = {path.name for path in about.declared}
        for text in sorted(named):
            if Path(text).name not in known:
                function = name.partition(":")[2]
                lines[
                    f"{name} mentions {text}, which is not part of its key: an edit of it goes "
                    f'unnoticed unless {function}.files = ["{text}"] declares it'
                ] = None
    return list(lines)


def shipped(name: str) -> Iterator[tuple[Path, Path]]:
    """Return the files that `module:function` needs on another machine, by their relative path.

    Raises
    ------
    ValueError
        When there is no such function, or a file of it would take the place of Tombola's own.
    """
    about = depends_on(name)
    for module in about.modules:
        if module.path is None:
            continue
        parts = module.name.split(".")
        if parts[0] in finding.PRODUCT:
            raise ValueError(
                f"{module.path.name} cannot be shipped beside the package {parts[0]} of Tombola: "
                "give it another name"
            )
        folder = Path(*parts) if module.folder else Path(*parts[:-1])
        yield folder / module.path.name, module.path
        for path in about.declared:
            if path.is_relative_to(module.path.parent):
                yield folder / path.relative_to(module.path.parent), path


def unnoticed(name: str, read: Iterable[Path]) -> list[Path]:
    """Return the files that a user's code read and that no key covers."""
    known = {path.resolve() for path in depends_on(name).declared}
    return sorted(path for path in read if path.resolve() not in known and path.is_file())


def use_of(name: str) -> Use:
    """Return the use of a function. A dataset has facts; the arguments tell the other uses apart.

    Raises
    ------
    ValueError
        When there is no such function.
    """
    found = signature_of(name, "recipe")
    needs = found.required if found else 1
    if needs == 0:
        return "recipe"
    if needs >= len(ARGUMENTS["score"]):
        return "score"
    return "dataset" if hasattr(load(name), "facts") else "network"


def _is_data(path: Path) -> bool:
    try:
        return path.suffix not in {"", ".py"} and path.is_file()
    except OSError:
        return False


def file(name: str) -> Path:
    """The file that defines `module:function`; nothing is run for it.

    Raises
    ------
    ValueError
        When there is no such module or function.
    """
    path = _find(name)[0].path
    assert path is not None
    return path


def _find(name: str) -> tuple[Module, str]:
    """The module and the function's name; the function is bound in its text, as far as it says."""
    module_name, _, function = name.partition(":")
    if not module_name or not function.isidentifier():
        raise ValueError(f"code of one's own is named module:function, not {name!r}")
    module = finding.find(module_name) if all(module_name.split(".")) else None
    if module is None or module.path is None or module.path.suffix != ".py":
        raise ValueError(
            f"no module {module_name!r} for {name!r}; it is looked for in the current folder "
            "and where Python finds modules (PYTHONPATH)"
        )
    source = syntax.read(module.path, module.name, module.folder is not None)
    if not source.binding(function) and not source.open:
        names = sorted({n for s in source.statements for n in s.binds if not n.startswith("_")})
        near = difflib.get_close_matches(function, names, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{module.path.name} has no function {function!r}{hint}")
    return module, function


# ---------------------------------------------------------------- what runs it


def load(name: str, source: str = "") -> Callable[..., Any]:
    """Import the function that `module:function` names.

    `source` is the digest that a key has of it: what was imported while it had that one goes
    on to be used.

    Raises
    ------
    OwnError
        When the module cannot be imported, or its files are not those of the digest.
    ValueError
        When there is no such module or function.
    """
    trust.check(name)
    same = name, source, finding.here()
    if source and same in _functions:
        return _functions[same]
    module_name, _, attribute = name.partition(":")
    found = finding.find(module_name)
    if found is None:
        raise ValueError(f"no module {module_name!r} for {name!r}")
    with told(f"importing {module_name}"):
        module = loading.module(found)
    function: Callable[..., Any] | None = getattr(module, attribute, None)
    if not callable(function):
        raise ValueError(f"{found.path or module_name} has no function {attribute!r}")
    if source and not found.installed:
        about = depends_on(name)
        if source not in {about.digest, about.of_bytes}:
            raise OwnError(f"{name} was edited after this was planned: launch the sweep again")
    _functions[same] = function
    return function


def call(name: str, *arguments: Any, source: str = "", options: Options = ()) -> Any:
    """Call `module:function` with these arguments, and options as they stand in a key.

    Raises
    ------
    OwnError
        When it ends as a script does (SystemExit and the like); errors come as they are.
    """
    function = load(name, source)
    given = {option: json.loads(value) for option, value in options}
    try:
        return function(*arguments, **given)
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise OwnError(f"{name} {_ended(error)}") from error


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Tell whatever a user's code raises meanwhile in one line, with its place."""
    try:
        yield
    except (OwnError, KeyboardInterrupt):
        raise
    except ImportError as error:
        raise OwnError(f"{doing}: {_first_line(error)}{_place(error)}") from error
    except BaseException as error:
        raise OwnError(f"{doing} {_ended(error)}") from error


def is_users(error: BaseException) -> bool:
    """Return whether an error came out of a user's code, wherever that was called."""
    if isinstance(error, OwnError):
        return True
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(_is_users_module(str(frame.f_globals.get("__name__"))) for frame in frames)


def ended(error: BaseException) -> str:
    """Say in one line how a user's code ended: the error, and where."""
    return f"code of one's own {_ended(error)}"


def _is_users_module(name: str) -> bool:
    return name == __name__ or name.startswith(f"{loading.PREFIX}.")


def _ended(error: BaseException) -> str:
    verb = "raised" if isinstance(error, Exception) else "ended with"
    text = _first_line(error)
    return f"{verb} {type(error).__name__}{': ' if text else ''}{text}{_place(error)}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")[:300]


def _place(error: BaseException) -> str:
    """The last line of the user's own that an error went through."""
    if isinstance(error, SyntaxError) and error.filename:
        return ""  # it says where
    steps = [
        f"{Path(frame.f_code.co_filename).name}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).startswith(f"{loading.PREFIX}.")
    ]
    return f" ({steps[-1]})" if steps else ""
