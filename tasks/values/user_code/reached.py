"""Find the parts of a user's files that a function depends on, and their digest.

Counted are the statements that define the function and all that they refer to, across the
user's modules; statements that act when a module is imported; files that the function declares;
and the versions of other packages. Not counted are comments, docstrings, and definitions that
nothing refers to. Where the text does not say what is reached (`getattr` by a computed name,
`globals()`, importlib, a star import of the user's own), the whole file counts, byte for byte.
"""

import ast
import hashlib
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from tasks.values.user_code import finding, syntax
from tasks.values.user_code.finding import Module
from tasks.values.user_code.syntax import Alias, Source, Statement

FILES = "files"
"""The attribute by which a function declares files that it reads."""


@dataclass(frozen=True)
class Reached:
    """The files and names that a function depends on.

    `digest` is of all of it; `of_bytes` that of the named file's bytes, by which stores of
    earlier versions know the function, where nothing else is reached. `files` are the user's
    Python files, `declared` those that the function says it reads, `texts` the strings that
    its code mentions.
    """

    digest: str
    of_bytes: str | None
    modules: tuple[Module, ...]
    declared: tuple[Path, ...]
    texts: frozenset[str]

    @property
    def files(self) -> tuple[Path, ...]:
        """The Python files, the named one first."""
        return tuple(module.path for module in self.modules if module.path)


def reached(module: Module, function: str) -> Reached:
    """Work out what a module's function depends on.

    Raises
    ------
    ValueError
        When a file cannot be read, or a declared one is not there.
    """
    walk = _Walk()
    walk.run(module)
    walk.name(module, function)
    walk.finish()
    declared = dict(walk.declared())
    lines = sorted({*walk.lines(), *_versions(walk.packages)})
    lines += [f"file {name} {_digest_of(path)}" for name, path in sorted(declared.items())]
    alone = len(walk.modules) == 1 and not declared
    assert module.path is not None
    return Reached(
        digest=hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16],
        of_bytes=walk.source(module).digest[:16] if alone else None,
        modules=tuple(walk.modules.values()),
        declared=tuple(declared.values()),
        texts=frozenset(walk.texts()),
    )


@dataclass
class _Walk:
    """The modules and statements reached so far."""

    modules: dict[str, Module] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    counted: dict[str, set[int]] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    open: set[tuple[str, bool]] = field(default_factory=set)
    waiting: list[tuple[Module, Statement]] = field(default_factory=list)

    # ------------------------------------------------------------ reach

    def run(self, module: Module) -> None:
        """Reach what happens when a module is imported."""
        if module.name in self.modules:
            return
        self.modules[module.name] = module
        self.counted[module.name] = set()
        parent = module.name.rpartition(".")[0]
        if parent:
            self.imported(parent)
        if module.path is None:
            return
        for number, statement in enumerate(self.source(module).statements):
            if isinstance(statement.node, ast.Import | ast.ImportFrom) or statement.acts:
                self.imports(statement)
            if statement.acts:
                self.count(module, number)
            for alias in statement.aliases:
                star = self.imported(alias.module) if alias.name == "*" else None
                if star:
                    self.take_whole(module)
                    self.take_whole(star)

    def imports(self, statement: Statement) -> None:
        """Reach the modules that a statement's imports run."""
        for name in statement.imports:
            self.imported(name)
        for alias in statement.aliases:
            if alias.attribute and self.is_submodule(alias):
                self.imported(f"{alias.module}.{alias.attribute}")

    def imported(self, name: str) -> Module | None:
        """Reach a module that an import names; None where it is no user's."""
        found = finding.find(name, imported=True)
        if found is None or found.installed:
            self.packages.add(name.partition(".")[0])
            return None
        self.run(found)
        return found

    def is_submodule(self, alias: Alias) -> bool:
        """Return whether `from package import name` means a module of that name."""
        module = finding.find(alias.module, imported=True)
        if module is None or module.installed or module.folder is None:
            return False
        bound = module.path and self.source(module).binding(alias.attribute or "")
        return not bound and finding.find(f"{alias.module}.{alias.attribute}") is not None

    def name(self, module: Module, name: str) -> None:
        """Reach what a name means in a module."""
        if module.path is None:
            self.take_whole(module)
            return
        numbers = self.source(module).binding(name)
        if not numbers:
            self.take_whole(module)  # made in a way that the text does not show
        for number in numbers:
            statement = self.source(module).statements[number]
            alias = next((one for one in statement.aliases if one.name == name), None)
            if alias and not isinstance(statement.node, syntax.DEFINITIONS):
                self.alias(module, alias)
                self.look_behind(module, statement)
            else:
                self.count(module, number)

    def alias(self, module: Module, alias: Alias) -> None:
        """Reach what `from m import name` names; a module is reached by what is used of it."""
        self.named.add(f"{module.name}: {alias.name} = {alias.module} {alias.attribute or ''}")
        if alias.attribute and not self.is_submodule(alias):
            found = self.imported(alias.module)
            if found:
                self.name(found, alias.attribute)

    def count(self, module: Module, number: int) -> None:
        """Count a statement; what it refers to is reached later, by `follow`."""
        if number not in self.counted[module.name]:
            self.counted[module.name].add(number)
            self.waiting.append((module, self.source(module).statements[number]))

    def follow(self, module: Module, statement: Statement) -> None:
        """Reach what a statement refers to."""
        source = self.source(module)
        self.look_behind(module, statement)
        self.imports(statement)
        for alias in statement.aliases:
            self.alias(module, alias)
            self.used(statement, alias)
        for name in sorted(statement.reads):
            for binding in source.binding(name):
                for alias in source.statements[binding].aliases:
                    if alias.name == name:
                        self.used(statement, alias)
            if source.binding(name):
                self.name(module, name)

    def used(self, statement: Statement, alias: Alias) -> None:
        """Reach what a statement uses of a module of the user's, or all of it."""
        if alias.attribute and not self.is_submodule(alias):
            return
        target = f"{alias.module}.{alias.attribute}" if alias.attribute else alias.module
        found = finding.find(target, imported=True)
        if found is None or found.installed:
            return
        self.run(found)
        for chain in _chains(statement.node, alias.name):
            self.attributes(found, chain)

    def attributes(self, module: Module, chain: tuple[str, ...]) -> None:
        """Reach what `module.a.b` names: a name in it, or in a module below it."""
        if not chain:
            self.take_whole(module)  # handed on: who knows what is taken from it
            return
        first, *rest = chain
        if module.path and self.source(module).binding(first):
            self.name(module, first)
            return
        below = finding.find(f"{module.name}.{first}", imported=True) if module.folder else None
        if below is None or below.installed:
            self.take_whole(module)
            return
        self.run(below)
        self.attributes(below, tuple(rest))

    def take_whole(self, module: Module) -> None:
        """Count all of a module."""
        if module.name in self.whole:
            return
        self.run(module)
        self.whole.add(module.name)
        for number in range(len(self.source(module).statements) if module.path else 0):
            self.count(module, number)

    def look_behind(self, module: Module, statement: Statement) -> None:
        """Count all that a statement may reach whose text does not say what it reaches."""
        if not statement.opaque or (again := (module.name, statement.imports_by_name)) in self.open:
            return
        self.open.add(again)
        self.take_whole(module)
        assert module.path is not None
        for one in self.source(module).statements:
            for alias in one.aliases:
                if alias.attribute is None or self.is_submodule(alias):
                    self.take(".".join(filter(None, (alias.module, alias.attribute))))
        if statement.imports_by_name:
            package = module.name if module.folder else module.name.rpartition(".")[0]
            for name in finding.below(module.path.parent, package):
                self.take(name)

    def take(self, name: str) -> None:
        """Count all of a module of the user's, by its name."""
        found = finding.find(name, imported=True)
        if found and not found.installed:
            self.take_whole(found)

    def finish(self) -> None:
        """Follow all that waits; every class counts where its definition may register it."""
        while self.waiting:
            self.follow(*self.waiting.pop())
            if self.waiting:
                continue
            known = [module for module in self.modules.values() if module.path]
            if any(self.source(module).registers for module in known):
                for module in known:
                    for number, one in enumerate(self.source(module).statements):
                        if isinstance(one.node, ast.ClassDef):
                            self.count(module, number)

    # ------------------------------------------------------------ tell

    def source(self, module: Module) -> Source:
        """The statements of a module's file."""
        assert module.path is not None
        return syntax.read(module.path, module.name, module.folder is not None)

    def lines(self) -> Iterator[str]:
        """All that counts, as text."""
        yield from self.named
        for name, module in self.modules.items():
            if module.path is None:
                continue
            source = self.source(module)
            if name in self.whole:
                yield f"{name} {source.digest}"
            for order, number in enumerate(sorted(self.counted[name])):
                node = source.statements[number].node
                place = order if source.statements[number].acts else 0
                yield f"{name} {place} {syntax.canonical(node)}"

    def declared(self) -> Iterator[tuple[str, Path]]:
        """Files that counted statements declare: `function.files = ["a.json"]`."""
        for module, statement in self._statements():
            for name in _declared(statement.node, module):
                assert module.path is not None
                path = module.path.parent / name
                if not path.exists():
                    raise ValueError(f"{module.path.name}: files names {name}, which is not there")
                found = sorted(path.rglob("*")) if path.is_dir() else [path]
                yield from (
                    (f"{name} {one.relative_to(path)}", one) for one in found if one.is_file()
                )

    def texts(self) -> Iterator[str]:
        """Strings in counted statements."""
        for _, statement in self._statements():
            for node in ast.walk(statement.node):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value

    def _statements(self) -> Iterator[tuple[Module, Statement]]:
        for name, numbers in self.counted.items():
            for number in sorted(numbers):
                yield self.modules[name], self.source(self.modules[name]).statements[number]


def _chains(node: ast.stmt, name: str) -> Iterator[tuple[str, ...]]:
    """Attributes taken of a name, as in `name.a.b`; () where it is used for itself."""
    inner: set[int] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute) and id(one) not in inner:
            chain: list[str] = []
            value: ast.expr = one
            while isinstance(value, ast.Attribute):
                inner.add(id(value))
                chain.append(value.attr)
                value = value.value
            if isinstance(value, ast.Name) and value.id == name:
                inner.add(id(value))
                yield tuple(reversed(chain))
    for one in ast.walk(node):
        itself = isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load)
        if itself and id(one) not in inner:
            yield ()


def _declared(node: ast.stmt, module: Module) -> list[str]:
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return []
    target = node.targets[0]
    if not (isinstance(target, ast.Attribute) and target.attr == FILES):
        return []
    try:
        names = ast.literal_eval(node.value)
    except ValueError:
        names = None
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) and n for n in names):
        file = module.path.name if module.path else module.name
        raise ValueError(f'{file}:{node.lineno}: files takes a list of names: ["config.json"]')
    return list(names)


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------- other packages


def _versions(packages: set[str]) -> list[str]:
    """Name and version of packages that are neither Python's nor what Tombola itself needs.

    Of those the version stands beside every result, as for shipped networks.
    """
    others = packages - sys.stdlib_module_names - {*finding.PRODUCT, ""}
    if not others:
        return []
    by_module = importlib.metadata.packages_distributions()
    projects = {project for name in others for project in by_module.get(name, ())}
    return [
        f"package {_normal(project)} {importlib.metadata.version(project)}"
        for project in sorted(projects)
        if _normal(project) not in _ours()
    ]


@lru_cache(maxsize=1)
def _ours() -> frozenset[str]:
    try:
        needed = importlib.metadata.requires("tombola") or []
    except importlib.metadata.PackageNotFoundError:
        return frozenset()
    return frozenset(_normal(re.split(r"[\s<>=!~;\[]", text, maxsplit=1)[0]) for text in needed)


def _normal(project: str) -> str:
    return re.sub(r"[-_.]+", "-", project).lower()
