"""YAML files with the place of every value, so that a mistake can be shown where it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tombola.errors import SweepError
from tombola.text import LONGEST_LABEL, is_label, lines, shortened, visible

MOST_BYTES = 1 << 20
"""Of a file; the largest that come along have a few thousand."""

MOST_VALUES = 100_000
"""In a file: texts, numbers, lists and mappings, as often as aliases repeat them."""

MOST_DEPTH = 30
MOST_EXTENDED = 20
LONGEST_NUMBER = 100

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Loc = tuple[str | int, ...]
"""Path of a value: keys and positions from the top."""


@dataclass(frozen=True)
class Source:
    """Plain data, and for each path in it where it was written (`file:line`)."""

    data: dict[str, Any]
    places: dict[Loc, str]

    def place(self, loc: Loc) -> str:
        """Return the file and line of `loc`, or of the nearest value around it."""
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


def _load(path: Path, ancestors: tuple[Path, ...]) -> Source:
    if path.resolve() in ancestors:
        raise SweepError([f"{path}: extends itself, by way of {ancestors[-1].name}"])
    if len(ancestors) >= MOST_EXTENDED:
        raise SweepError(
            [f"{path}: extends a file that extends another, over {MOST_EXTENDED} files"]
        )
    source = _parse(path, _read(path))
    parent = source.data.pop("extends", None)
    if parent is None:
        return source
    if not isinstance(parent, str):
        raise SweepError([f"{source.place(('extends',))}: extends takes the path of a sweep file"])
    base = _load(path.parent / parent, (*ancestors, path.resolve()))
    return Source(_merge(base.data, source.data), {**base.places, **source.places})


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise SweepError([f"{path}: no such file"]) from None
    except OSError as error:
        raise SweepError([f"{path}: {(error.strerror or 'cannot be read').lower()}"]) from None
    if len(content) > MOST_BYTES:
        raise SweepError([f"{path}: more than {MOST_BYTES // 1024} KiB, too much for a sweep file"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SweepError([f"{path}: not a text file in UTF-8"]) from None
    return text.replace("\r\n", "\n")


def _parse(path: Path, text: str) -> Source:
    places: dict[Loc, str] = {}
    data = _data(text, str(path), places)
    if not isinstance(data, dict):
        raise SweepError([f"{path}: a sweep file holds `name: …`, `grids: …` and so on"])
    return Source(data, places)


def _data(text: str, where: str, places: dict[Loc, str]) -> Any:
    """Parse YAML text after its size is checked; fill in `places`.

    Raises
    ------
    SweepError
        When it is not valid, or goes beyond the bounds.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if lines(line) != line:
            raise SweepError([f"{where}:{number}: a control character: {visible(line.strip())}"])
    try:
        _check_depth(text, where)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _Notes(where, places).note(node, ())
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise SweepError([f"{where}{line}: not valid YAML: {error.problem}"]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise SweepError([f"{where}: not valid YAML: {str(error).splitlines()[0]}"]) from None


def _check_depth(text: str, where: str) -> None:
    """Refuse values in one another beyond the bound, before anything follows them down."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MOST_DEPTH:
            line = f":{event.start_mark.line + 1}" if event.start_mark else ""
            raise SweepError([f"{where}{line}: more than {MOST_DEPTH} values in one another"])


class _Notes:
    """Return the place of each value. A value has a place for each of its aliases.

    Raises
    ------
    SweepError
        When there are too many of them, or one cannot stand in a sweep file.
    """

    def __init__(self, where: str, places: dict[Loc, str]) -> None:
        self._where, self._places = where, places

    def note(self, node: yaml.Node, loc: Loc) -> None:
        """Note a value, and those in it."""
        line = self._line(node)
        self._places[loc] = line
        if len(self._places) > MOST_VALUES:
            raise SweepError(
                [f"{line}: more than {MOST_VALUES:,} values, those included that aliases repeat"]
            )
        if len(loc) > MOST_DEPTH:
            raise SweepError([f"{line}: more than {MOST_DEPTH} values in one another"])
        if isinstance(node, yaml.MappingNode):
            self._note_mapping(node, loc)
        elif isinstance(node, yaml.SequenceNode):
            for position, value in enumerate(node.value):
                self.note(value, (*loc, position))
        elif loc[:1] not in (("description",), ("figures",)):
            self._check(node)

    def _note_mapping(self, node: yaml.MappingNode, loc: Loc) -> None:
        seen: set[str] = set()
        for key, value in node.value:
            line = self._line(key)
            if not isinstance(key, yaml.ScalarNode):
                raise SweepError([f"{line}: a key takes plain text"])
            if key.value in seen:
                raise SweepError([f"{line}: {key.value} stands here a second time"])
            seen.add(key.value)
            self._check(key)
            self.note(value, (*loc, key.value))
            self._places[(*loc, key.value)] = line

    def _check(self, node: yaml.Node) -> None:
        """Refuse text that no column, figure or terminal could show."""
        if not is_label(node.value):
            raise SweepError(
                [
                    f"{self._line(node)}: takes at most {LONGEST_LABEL:,} characters, and no "
                    f"control characters, not {visible(shortened(node.value))!r}"
                ]
            )
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > LONGEST_NUMBER:
            raise SweepError([f"{self._line(node)}: a number of {len(node.value):,} digits"])

    def _line(self, node: yaml.Node) -> str:
        return f"{self._where}:{node.start_mark.line + 1}"


def _merge(base: Any, change: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    return {**base, **{key: _merge(base.get(key), value) for key, value in change.items()}}


def _set(source: Source, override: str) -> Source:
    where = f"--set {override}"
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise SweepError([f"{where}: takes key=value, such as replicates=5 or recipe.lr=0.1"])
    value = _data(text, where, {})
    loc = tuple(int(p) if p.isdecimal() and len(p) < 10 else p for p in key.split("."))
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
