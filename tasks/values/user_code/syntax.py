"""A user's file as its top-level statements: what each binds, reads, imports, and does by itself.

Nothing is executed.
"""

import ast
import hashlib
import re
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

_QUIET_DECORATORS = frozenset(
    {"dataclass", "cache", "lru_cache", "no_grad", "inference_mode", "final", "total_ordering"}
)

_IMPORTERS = frozenset({"__import__", "importlib", "runpy", "pkgutil"})
_OPAQUE_NAMES = _IMPORTERS | {
    *("globals", "locals", "vars", "exec", "eval", "compile", "__doc__", "inspect")
}
_OPAQUE_ATTRIBUTES = frozenset({"__dict__", "__globals__", "__doc__", "__code__"})
_REGISTERS = re.compile(rb"__init_subclass__|__subclasses__|metaclass\s*=")


@dataclass(frozen=True)
class Alias:
    """A name that an import binds: a module, or what `attribute` names in it."""

    name: str
    module: str
    attribute: str | None


@dataclass(frozen=True)
class Statement:
    """A top-level statement.

    `binds` are the names it gives a value or changes; `reads` global names; `aliases` what its
    imports bind and `imports` the modules they run. `acts`: it does something when the module
    is imported, so that it counts always. `opaque`: what it reaches cannot be told from its text;
    `imports_by_name`: not even among which files that is.
    """

    node: ast.stmt
    binds: frozenset[str]
    reads: frozenset[str]
    aliases: tuple[Alias, ...]
    imports: tuple[str, ...]
    acts: bool
    opaque: bool
    imports_by_name: bool


@dataclass(frozen=True)
class Source:
    """A file's statements.

    `registers`: defining a class may put it into a table. `open`: names may be bound in ways
    that the text does not show.
    """

    statements: tuple[Statement, ...]
    digest: str
    registers: bool
    open: bool

    def binding(self, name: str) -> list[int]:
        """Numbers of the statements that bind a name."""
        return [n for n, one in enumerate(self.statements) if name in one.binds]


def read(path: Path, module: str, is_package: bool) -> Source:
    """Read a file's statements; it is parsed again only when it has changed.

    Raises
    ------
    ValueError
        When it cannot be read or is no Python.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror}") from None
    return _read(content, path.name, module, is_package)


@lru_cache(maxsize=512)
def _read(content: bytes, file: str, module: str, is_package: bool) -> Source:
    try:
        tree = ast.parse(content, file)
        table = symtable.symtable(content.decode("utf-8-sig"), file, "exec")
    except SyntaxError as error:
        raise ValueError(f"{file}:{error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no Python file: {error}") from None
    package = module if is_package else module.rpartition(".")[0]
    scopes = {name: _globals_of(tables) for name, tables in _by_name(table).items()}
    defined = frozenset(node.name for node in tree.body if isinstance(node, DEFINITIONS))
    statements = tuple(
        _statement(node, scopes, defined, package) for node in tree.body if not _says_nothing(node)
    )
    digest = hashlib.sha256(content).hexdigest()
    stars = any(alias.name == "*" for one in statements for alias in one.aliases)
    is_open = stars or any(one.opaque or "__getattr__" in one.binds for one in statements)
    return Source(statements, digest, bool(_REGISTERS.search(content)), is_open)


def is_quiet(decorator: ast.expr) -> bool:
    """Return whether a decorator is known to change no call and to register nothing."""
    return _last_name(decorator) in _QUIET_DECORATORS


def canonical(node: Any) -> str:
    """Write a syntax tree without places, comments and docstrings, alike on every Python."""
    if isinstance(node, ast.AST):
        fields = ((n, v) for n, v in ast.iter_fields(node) if n not in {"kind", "type_comment"})
        written = [f"{n}={canonical(v)}" for n, v in fields if v is not None and v != []]
        return f"{type(node).__name__}({','.join(written)})"
    if isinstance(node, list):
        return f"[{','.join(canonical(one) for one in node if not _is_text(one))}]"
    return repr(node)


# ---------------------------------------------------------------- statements


def _statement(
    node: ast.stmt, scopes: dict[str, frozenset[str]], defined: frozenset[str], package: str
) -> Statement:
    found = tuple(_aliases(node, package))
    if isinstance(node, DEFINITIONS):
        binds = frozenset({node.name})
        reads = scopes.get(node.name, frozenset()) | _names(_outside(node))
        acts = not all(map(is_quiet, node.decorator_list))
    else:
        binds, acts = _bound(node, defined)
        binds |= {alias.name for alias in found}
        reads = _names([node])
    return Statement(
        node=node,
        binds=binds,
        reads=reads,
        aliases=found,
        imports=tuple(dict.fromkeys(_imported(node, package))),
        acts=acts,
        opaque=any(map(_hides, ast.walk(node))),
        imports_by_name=any(map(_imports_by_name, ast.walk(node))),
    )


def _bound(node: ast.stmt, defined: frozenset[str]) -> tuple[frozenset[str], bool]:
    """Names that a statement other than a definition binds, and whether it acts on its own."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return frozenset(), False
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        roots = {root for target in targets for root in _roots(target)}
        plain = all(isinstance(one, ast.Name | ast.Tuple | ast.List) for one in targets)
        acts = not (plain or roots <= defined) or (node.value is not None and _calls(node.value))
        return frozenset(roots), acts
    inside = ast.walk(node)
    stored = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    named = {n.name for n in ast.walk(node) if isinstance(n, DEFINITIONS)}
    return frozenset(stored | named), True


def _says_nothing(node: ast.stmt) -> bool:
    """Docstrings, `pass`, and what runs only where the file is a script."""
    if isinstance(node, ast.If):
        test = node.test
        if isinstance(test, ast.Compare) and isinstance(test.left, ast.Name):
            return (
                test.left.id == "__name__" and isinstance(test.ops[0], ast.Eq) and not node.orelse
            )
    return isinstance(node, ast.Pass) or _is_text(node)


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _calls(value: ast.expr) -> bool:
    """Return whether it calls what is named like a function: a class makes a value and no more."""
    calls = [node for node in ast.walk(value) if isinstance(node, ast.Call)]
    return any(not (_last_name(call) or "x")[0].isupper() for call in calls)


def _last_name(node: ast.expr) -> str | None:
    while isinstance(node, ast.Call):
        node = node.func
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", None)


def _roots(target: ast.expr) -> Iterator[str]:
    """Names that an assignment's target begins with."""
    if isinstance(target, ast.Tuple | ast.List):
        for element in target.elts:
            yield from _roots(element)
    while isinstance(target, ast.Attribute | ast.Subscript | ast.Starred):
        target = target.value
    if isinstance(target, ast.Name):
        yield target.id


def _names(nodes: Iterable[ast.AST]) -> frozenset[str]:
    return frozenset(n.id for one in nodes for n in ast.walk(one) if isinstance(n, ast.Name))


def _outside(node: Definition) -> list[ast.AST]:
    """Return the parts of a definition that Python evaluates when it reads the definition."""
    found: list[ast.AST | None] = [*node.decorator_list]
    if isinstance(node, ast.ClassDef):
        return [one for one in (*found, *node.bases, *node.keywords) if one]
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [one for one in (arguments.vararg, arguments.kwarg) if one]
    found += [*arguments.defaults, *arguments.kw_defaults, node.returns]
    found += [one.annotation for one in every]
    return [one for one in found if one]


def _by_name(table: symtable.SymbolTable) -> dict[str, list[symtable.SymbolTable]]:
    found: dict[str, list[symtable.SymbolTable]] = {}
    for child in table.get_children():
        found.setdefault(child.get_name(), []).append(child)
    return found


def _globals_of(tables: list[symtable.SymbolTable]) -> frozenset[str]:
    """Global names that scopes refer to, at any depth."""
    names: set[str] = set()
    for table in tables:
        inherits = "class" in str(table.get_type()).lower()  # `size = size` reads a global
        names |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_global() or (inherits and symbol.is_referenced())
        }
        names |= _globals_of(table.get_children())
    return frozenset(names)


# ---------------------------------------------------------------- imports, and what hides


def _aliases(node: ast.stmt, package: str) -> Iterator[Alias]:
    """Names bound by the imports in a statement, at any depth."""
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            for item in one.names:
                module = item.name if item.asname else item.name.partition(".")[0]
                yield Alias(item.asname or module, module, None)
        elif isinstance(one, ast.ImportFrom):
            module = _absolute(one, package)
            for item in one.names:
                yield Alias(item.asname or item.name, module, item.name)


def _imported(node: ast.stmt, package: str) -> Iterator[str]:
    """Modules that the imports in a statement run, at any depth; maybe modules among them."""
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            yield from (item.name for item in one.names)
        elif isinstance(one, ast.ImportFrom):
            yield _absolute(one, package)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    above = parts[: len(parts) - node.level + 1] if package else []
    return ".".join([*above, *([node.module] if node.module else [])])


def _imports_by_name(node: ast.AST) -> bool:
    """Return whether it may import what its text does not name."""
    match node:
        case ast.Name(id=name):
            return name in _IMPORTERS
        case ast.ImportFrom(module=str(module)):
            return module.partition(".")[0] in _IMPORTERS
    return False


def _hides(node: ast.AST) -> bool:
    """Return whether the text does not say what is reached."""
    match node:
        case ast.Name(id=name):
            return name in _OPAQUE_NAMES
        case ast.Attribute(attr=name, value=value):
            is_modules = name == "modules" and isinstance(value, ast.Name) and value.id == "sys"
            return name in _OPAQUE_ATTRIBUTES or is_modules
        case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in _OPAQUE_NAMES:
            return True
        case ast.Import(names=names):
            return any(one.name.partition(".")[0] in _OPAQUE_NAMES for one in names)
        case ast.Call(func=ast.Name(id="getattr" | "setattr"), args=[first, second, *_]):
            own = isinstance(first, ast.Name) and first.id in {"self", "cls"}
            return not own and not isinstance(second, ast.Constant)
    return False
