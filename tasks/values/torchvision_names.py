"""Which networks torchvision has, by reading its files: to import it takes seconds."""

import ast
import functools
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

PREFIX = "torchvision:"
_FOLDERS = ("models", "models/quantization")
"""Modules with image classifiers. Networks for video, detection or segmentation give no logits."""


@functools.cache
def torchvision_networks() -> frozenset[str]:
    """Names as `torchvision.models.get_model` takes them; none where torchvision is not here."""
    spec = find_spec("torchvision")
    places = spec.submodule_search_locations if spec else None
    return frozenset(
        name
        for place in places or ()
        for folder in _FOLDERS
        for path in sorted((Path(place) / folder).glob("*.py"))
        for name in _registered(path.read_text(encoding="utf-8"))
    )


def _registered(source: str) -> Iterator[str]:
    """Functions under the decorator `register_model`, by the name that it gives them."""
    for function in ast.parse(source).body:
        if not isinstance(function, ast.FunctionDef):
            continue
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "register_model":
                names = [*decorator.args, *(k.value for k in decorator.keywords if k.arg == "name")]
                yield ast.literal_eval(names[0]) if names else function.name
