"""YAML files with the place of every value, so that a mistake can be shown where it is."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import SweepError

Loc = tuple[str | int, ...]
"""Path of a value: keys and positions from the top."""


@dataclass(frozen=True)
class Source:
    """Plain data, and for each path in it where it was written (`file:line`)."""

    data: dict[str, Any]
    places: dict[Loc, str]

    def place(self, loc: Loc) -> str:
        """Where `loc`, or the nearest thing around it, was written."""
        while loc and loc not in self.places:
            loc = loc[:-1]
        return self.places.get(loc, "the sweep")


def load(path: Path, overrides: tuple[str, ...] = ()) -> Source:
    """A sweep file with what it extends, and `key=value` overrides on top.

    Raises
    ------
    SweepError
        When a file cannot be read, is not YAML, or extends itself.
    """
    source = _load(path, ())
    for override in overrides:
        source = _set(source, override)
    return source


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """`did you mean …?`, or the known words."""
    match = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"did you mean {match[0]}?" if match else f"known: {', '.join(sorted(known))}"


def _load(path: Path, ancestors: tuple[Path, ...]) -> Source:
    if path.resolve() in ancestors:
        raise SweepError([f"{path}: extends itself, by way of {ancestors[-1].name}"])
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SweepError([f"{path}: no such file"]) from None
    except UnicodeDecodeError:
        raise SweepError([f"{path}: not a text file in UTF-8"]) from None
    except OSError as error:
        raise SweepError([f"{path}: {(error.strerror or 'cannot be read').lower()}"]) from None
    source = _parse(path, text)
    parent = source.data.pop("extends", None)
    if parent is None:
        return source
    if not isinstance(parent, str):
        raise SweepError([f"{source.place(('extends',))}: extends takes the path of a sweep file"])
    base = _load(path.parent / parent, (*ancestors, path.resolve()))
    return Source(_merge(base.data, source.data), {**base.places, **source.places})


def _parse(path: Path, text: str) -> Source:
    loader = yaml.SafeLoader(text)
    places: dict[Loc, str] = {}
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise SweepError([f"{path}: a sweep file holds `name: …`, `grids: …` and so on"])
        _note_places(node, (), path, places)
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise SweepError([f"{path}{line}: not valid YAML: {error.problem}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SweepError([f"{path}: not valid YAML: {str(error).splitlines()[0]}"]) from None
    finally:
        loader.dispose()
    return Source(data, places)


def _note_places(node: yaml.Node, loc: Loc, path: Path, places: dict[Loc, str]) -> None:
    places[loc] = f"{path}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = f"{path}:{key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode):
                raise SweepError([f"{line}: a key takes plain text"])
            if key.value in seen:
                raise SweepError([f"{line}: {key.value} stands here a second time"])
            seen.add(key.value)
            _note_places(value, (*loc, key.value), path, places)
            places[(*loc, key.value)] = line
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            _note_places(value, (*loc, position), path, places)


def _merge(base: Any, change: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    return {**base, **{key: _merge(base.get(key), value) for key, value in change.items()}}


def _set(source: Source, override: str) -> Source:
    where = f"--set {override}"
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise SweepError([f"{where}: takes key=value, such as replicates=5 or recipe.lr=0.1"])
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise SweepError([f"{where}: the value is not valid YAML"]) from None
    loc = tuple(int(part) if part.isdigit() else part for part in key.split("."))
    data = _replaced(source.data, loc, value, where)
    places = {known: at for known, at in source.places.items() if known[: len(loc)] != loc}
    return Source(data, {**places, loc: where})


def _replaced(data: Any, loc: Loc, value: Any, where: str) -> Any:
    if not loc:
        return value
    head, rest = loc[0], loc[1:]
    if isinstance(data, list):
        if not isinstance(head, int) or head >= len(data):
            raise SweepError([f"{where}: {head} is no position in a list of {len(data)}"])
        return [_replaced(v, rest, value, where) if i == head else v for i, v in enumerate(data)]
    if data is None or isinstance(data, dict):
        return {**(data or {}), head: _replaced((data or {}).get(head), rest, value, where)}
    raise SweepError([f"{where}: {head} is inside a plain value"])
