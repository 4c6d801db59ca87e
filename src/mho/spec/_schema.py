"""The JSON schema of a spec, for editors and forms: one definition per family and member."""

from typing import Any

from ._codec import SCHEMA
from ._spec import Spec, Variant

# What a file has besides the fields.
_HEADER = {
    "schema": {"const": SCHEMA, "description": "Version of the format."},
    "source": {"type": "string", "description": "Where the numbers come from."},
    "fitted_on": {"type": "string", "description": "What the numbers were fitted on."},
}


_LIMITS = {
    "gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum",
}  # fmt: skip


def _keyword(key: str, value: Any) -> str:
    """Return the keyword of JSON Schema for a limit that pydantic leaves under its own name.

    It does where a number may also be text with a unit.
    """
    return _LIMITS.get(key, key) if isinstance(value, int | float) else key


def json_schema(spec: type[Spec]) -> dict[str, Any]:
    """Return the JSON schema of a spec class; families of variants are `oneOf` their members."""
    definitions: dict[str, Any] = {}

    def define(family: str) -> None:
        if family not in definitions:
            definitions[family] = {}  # known from here on: members may nest their own family
            members = Variant.families[family].members.values()
            named = {"type": "string", "enum": sorted(Variant.families[family].members)}
            definitions[family] = {
                "oneOf": [named, *(resolve(m.model_json_schema()) for m in members)]
            }

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        definitions.update({k: resolve(v) for k, v in node.pop("$defs", {}).items()})
        if "family" in node and isinstance(node["family"], str):
            define(node["family"])
            rest = {k: v for k, v in node.items() if k != "family"}
            return {**rest, "$ref": f"#/$defs/{node['family']}"}
        return {_keyword(key, value): resolve(value) for key, value in node.items()}

    schema = resolve(spec.model_json_schema())
    properties = {**_HEADER, **schema["properties"]}
    return {**schema, "properties": properties, "$defs": definitions}
