"""The sweep file as a JSON schema, for editors and for its reference page."""

from collections.abc import Mapping
from typing import Any

from orchestrator.sweep.recipes import PUBLISHED
from orchestrator.sweep.schema import Sweep

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TOP = ["name", "grids"]
"""Keys without which no file is a sweep; a published recipe names dataset and network."""


def json_schema(figures: Mapping[str, list[str]] | None = None) -> dict[str, Any]:
    """Return the JSON schema of a sweep file.

    `figures` are the figures that exist, each with its options. What the schema admits may
    still be refused: it knows neither units nor what goes together.
    """
    schema = Sweep.model_json_schema()
    fields = schema["properties"]
    fields["recipe"] = {
        **fields["recipe"],
        "anyOf": [{"enum": sorted(PUBLISHED)}, {"type": "string", "pattern": ":"}, _from(schema)],
    }
    del fields["recipe"]["$ref"]
    fields["extends"] = {
        "type": "string",
        "description": "Path of a sweep file whose values hold where this one says nothing.",
    }
    if figures is not None:
        with_options = [_figure(name, options) for name, options in figures.items()]
        fields["figures"]["items"] = {"anyOf": [{"enum": list(figures)}, *with_options]}
    return {**schema, "$schema": _DIALECT, "title": "Tombola sweep", "required": _TOP}


def _from(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe recipe fields on top of a published recipe."""
    own = schema["$defs"]["RecipeFields"]
    base = {"from": {"type": "string", "description": "A published recipe, changed here."}}
    return {**own, "properties": {**base, **own["properties"]}}


def _figure(name: str, options: list[str]) -> dict[str, Any]:
    body = {
        "type": ["object", "null"],
        "properties": {option: {} for option in options},
        "additionalProperties": False,
    }
    return {"type": "object", "properties": {name: body}, "required": [name], "maxProperties": 1}
