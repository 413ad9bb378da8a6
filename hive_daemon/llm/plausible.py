"""Values made up for a schema: deterministic, never empty, and such that loops over them end.

A boolean is true on odd visits and false on even ones, an enumeration moves on by one with each visit: a graph that
goes back while a flag stands leaves the loop at its second visit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TYPE_NAMES = {
    "str": "string",
    "text": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
    "json": "object",
}
DEEPEST = 8


def plausible(name: str, schema: Mapping[str, Any], visit: int = 1, depth: int = 0) -> Any:
    """Make a value of a JSON Schema (the types' Python names are understood too); without a type, a sentence."""
    if "const" in schema:
        return schema["const"]
    if choices := schema.get("enum"):
        return choices[(visit - 1) % len(choices)]
    for offered in ("default", "example"):
        if schema.get(offered) not in (None, "", [], {}):
            return schema[offered]
    match _type_of(schema):
        case "boolean":
            return visit % 2 == 1
        case "integer":
            return int(_number(schema))
        case "number":
            return float(_number(schema))
        case "array":
            return [_inside(f"{name}_item", schema.get("items"), visit, depth)]
        case "object":
            return _object(name, schema, visit, depth)
    return f"scripted {name}"


def _type_of(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "")
    if isinstance(kind, list):
        kind = next((option for option in kind if option != "null"), "")
    return TYPE_NAMES.get(str(kind), str(kind))


def _number(schema: Mapping[str, Any]) -> float:
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(low, int | float):
        return max(low, 1) if high is None or high >= 1 else low
    return min(high, 1) if isinstance(high, int | float) else 1


def _object(name: str, schema: Mapping[str, Any], visit: int, depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return {"value": f"scripted {name}"}
    return {str(key): _inside(str(key), part, visit, depth) for key, part in properties.items()}


def _inside(name: str, schema: object, visit: int, depth: int) -> Any:
    known = schema if isinstance(schema, Mapping) and depth < DEEPEST else {}
    return plausible(name, known, visit, depth + 1)
