"""Read the signature of a user's function from its text. Nothing is executed.

Parameters past those that Tombola fills in are the function's options.
"""

import ast
import difflib
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

from tasks.values.user_code import finding, syntax
from tasks.values.user_code.finding import Module

Use = Literal["network", "score", "dataset", "recipe"]

ARGUMENTS: dict[Use, tuple[str, ...]] = {
    "network": ("network",),
    "score": ("module", "weights", "kept", "batches", "seed"),
    "dataset": ("split",),
    "recipe": (),
}
"""Arguments that a function gets, by its use."""

_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}


@dataclass(frozen=True)
class Option:
    """A parameter that a sweep file may set; `kinds` are the names of types that it takes.

    No kinds: its type is not said, so that any plain value is taken.
    """

    name: str
    kinds: tuple[str, ...] = ()
    choices: tuple[Any, ...] = ()
    required: bool = False
    default: Any = None

    def typed(self, value: Any) -> Any:
        """Return the value as the parameter's type.

        Raises
        ------
        ValueError
            When it is none.
        """
        if self.choices:
            if value not in self.choices:
                choices = ", ".join(map(str, self.choices))
                raise ValueError(f"{self.name} takes one of {choices}, not {value!r}")
            return value
        if value is None and "None" in self.kinds:
            return None
        for kind in [one for one in self.kinds if one in _WORDS] or list(_WORDS):
            found = _as(kind, value, strict=not self.kinds)
            if found is not None:
                return found
        words = " or ".join(_WORDS[one] for one in self.kinds if one in _WORDS)
        raise ValueError(f"{self.name} takes {words or 'a plain value'}, not {value!r}")


@dataclass(frozen=True)
class Signature:
    """A definition's parameters: positional ones by name, and options by name.

    `open` takes any option (`**options`); `most` None takes any number of arguments.
    """

    required: int
    most: int | None
    options: dict[str, Option] = field(default_factory=dict)
    open: bool = False


def signature(module: Module, function: str, use: Use) -> Signature | None:
    """Read how a function is defined; None where its text does not say how it is called."""
    found = defined(module, function)
    if found is None:
        return None
    inside, node = found
    skip = 0
    if isinstance(node, ast.ClassDef):
        initial = _initial(inside, node)
        if initial is None:
            return None
        node, skip = initial, 1
    if any(not syntax.is_quiet(one) for one in node.decorator_list):
        return None  # a decorator may change what it takes
    return _signature(node.args, skip, len(ARGUMENTS[use]))


def defined(module: Module, function: str) -> tuple[Module, syntax.Definition] | None:
    """Find the definition that a name stands for, through imports among the user's files."""
    for _ in range(20):
        if module.path is None:
            return None
        source = syntax.read(module.path, module.name, module.folder is not None)
        numbers = source.binding(function)
        last = source.statements[numbers[-1]] if numbers else None
        nodes = [source.statements[n].node for n in numbers]
        definitions = [node for node in nodes if isinstance(node, syntax.DEFINITIONS)]
        if definitions:
            return module, definitions[-1]
        alias = next((a for a in last.aliases if a.name == function), None) if last else None
        above = finding.find(alias.module, imported=True) if alias and alias.attribute else None
        if alias is None or alias.attribute is None or above is None:
            return None
        module, function = above, alias.attribute
    return None


def _initial(module: Module, node: ast.ClassDef) -> ast.FunctionDef | None:
    """The `__init__` of a class, or of the first of its bases that has one in the user's files."""
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            return one
    for base in node.bases:
        found = defined(module, base.id) if isinstance(base, ast.Name) else None
        if found and isinstance(found[1], ast.ClassDef) and found[1] is not node:
            return _initial(found[0], found[1])
    return None


def _signature(arguments: ast.arguments, skip: int, filled: int) -> Signature:
    positional = [*arguments.posonlyargs, *arguments.args]
    without = len(positional) - len(arguments.defaults)
    defaults: list[ast.expr | None] = [None] * without + list(arguments.defaults)
    pairs = list(zip(positional, defaults, strict=True))[skip:]
    options = {arg.arg: _option(arg, default) for arg, default in pairs[filled:]}
    options |= {
        arg.arg: _option(arg, default)
        for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    }
    return Signature(
        required=sum(default is None for _, default in pairs),
        most=None if arguments.vararg else len(pairs),
        options=options,
        open=arguments.kwarg is not None,
    )


def _option(argument: ast.arg, default: ast.expr | None) -> Option:
    value: Any = None
    if default is not None:
        try:
            value = ast.literal_eval(default)
        except ValueError:
            value = ...
    kinds, choices = _kinds(argument.annotation)
    if not kinds and type(value).__name__ in _WORDS:
        kinds = (type(value).__name__,)
    if kinds == ("float",) and type(value) is int:
        value = float(value)
    return Option(argument.arg, kinds, choices, required=default is None, default=value)


def _kinds(annotation: ast.expr | None) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Names of the plain types in an annotation, and the values of a Literal."""
    match annotation:
        case ast.Constant(value=str(text)):
            try:
                return _kinds(ast.parse(text, mode="eval").body)
            except SyntaxError:
                return (), ()
        case ast.Constant(value=None):
            return ("None",), ()
        case ast.Name(id=name) if name in _WORDS:
            return (name,), ()
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            parts = [_kinds(left), _kinds(right)]
            if not all(kinds or choices for kinds, choices in parts):
                return (), ()
            return tuple(k for kinds, _ in parts for k in kinds), parts[0][1] + parts[1][1]
        case ast.Subscript(value=outer, slice=inner):
            name = outer.id if isinstance(outer, ast.Name) else getattr(outer, "attr", "")
            if name == "Optional":
                kinds, choices = _kinds(inner)
                return (*kinds, "None"), choices
            if name == "Literal":
                items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                if all(isinstance(one, ast.Constant) for one in items):
                    return (), tuple(ast.literal_eval(one) for one in items)
    return (), ()


# ---------------------------------------------------------------- values


def options(name: str, found: Signature | None, given: dict[str, Any]) -> dict[str, Any]:
    """Check a sweep file's options of a user's function, and give them their types.

    Raises
    ------
    ValueError
        For an unknown or missing option, or a value of another type.
    """
    if found is None:
        if given:
            raise ValueError(
                f"{name} takes no options: they are read from a `def` or an `__init__`"
            )
        return {}
    typed = {}
    for option, value in given.items():
        known = found.options.get(str(option))
        if known is None and not found.open:
            raise ValueError(f"{name} has no option {option!r}; {_nearest(option, found.options)}")
        try:
            typed[str(option)] = (known or Option(str(option))).typed(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    missing = [o.name for o in found.options.values() if o.required and o.name not in typed]
    if missing:
        raise ValueError(f"{name} takes {missing[0]}, which has no default")
    return typed


def written(found: Signature | None, typed: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Options as they stand in a key: names and JSON, without those that are the default."""
    known = found.options if found else {}
    return tuple(
        (name, json.dumps(value))
        for name, value in sorted(typed.items())
        if name not in known or known[name].required or not _same(known[name].default, value)
    )


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _as(kind: str, value: Any, *, strict: bool) -> Any:
    """The value as a plain type; None where it is none. Not `strict`: text may be a number."""
    number: Any = value
    if kind in {"int", "float"} and isinstance(value, str) and not strict:
        try:
            number = float(value)
        except ValueError:
            return None
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if kind == "float" and is_number and math.isfinite(number):
        return float(f"{float(number):.12g}")
    if kind == "int" and is_number and float(number).is_integer():
        return None if strict and isinstance(value, float) else int(number)
    if (kind == "bool" and isinstance(value, bool)) or (kind == "str" and isinstance(value, str)):
        return value
    return None


def _nearest(word: object, known: dict[str, Option]) -> str:
    if not known:
        return "it has none"
    match = difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)
    return f"did you mean {match[0]}?" if match else f"known: {', '.join(sorted(known))}"
