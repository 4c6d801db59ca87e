"""The part of JSON Schema that hardware uses, literally; an unknown keyword is an error."""

from typing import Any

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
NO_RULE = {"title", "description", "default", "examples", "unit", "$defs"}


def valid(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether a document obeys a schema whose references lead into root."""
    return all(
        _RULES[keyword](value, rule, schema, root)
        for keyword, rule in schema.items()
        if keyword not in NO_RULE
    )


def _reference(value, rule, schema, root):
    assert rule.startswith("#/$defs/")
    return valid(value, root["$defs"][rule.removeprefix("#/$defs/")], root)


def _is(value, name):
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, TYPES[name])


def _properties(value, rule, schema, root):
    return all(valid(value[name], rule[name], root) for name in rule if name in value)


def _no_others(value, rule, schema, root):
    assert rule is False
    return set(value) <= set(schema["properties"])


def _if_number(test):
    def rule_for_numbers(value, rule, schema, root):
        return not isinstance(value, int | float) or isinstance(value, bool) or test(value, rule)

    return rule_for_numbers


_RULES = {
    "$ref": _reference,
    "type": lambda value, rule, schema, root: _is(value, rule),
    "properties": lambda v, *rest: not isinstance(v, dict) or _properties(v, *rest),
    "additionalProperties": lambda v, *rest: not isinstance(v, dict) or _no_others(v, *rest),
    "required": lambda v, rule, *rest: not isinstance(v, dict) or set(rule) <= set(v),
    "items": lambda v, rule, schema, root: (
        not isinstance(v, list) or all(valid(item, rule, root) for item in v)
    ),
    "minItems": lambda v, rule, *rest: not isinstance(v, list) or len(v) >= rule,
    "maxItems": lambda v, rule, *rest: not isinstance(v, list) or len(v) <= rule,
    "anyOf": lambda v, rule, schema, root: any(valid(v, each, root) for each in rule),
    "oneOf": lambda v, rule, schema, root: sum(valid(v, each, root) for each in rule) == 1,
    "const": lambda v, rule, *rest: v == rule and type(v) is type(rule),
    "enum": lambda v, rule, *rest: v in rule,
    "minimum": _if_number(lambda v, rule: v >= rule),
    "maximum": _if_number(lambda v, rule: v <= rule),
    "exclusiveMinimum": _if_number(lambda v, rule: v > rule),
    "exclusiveMaximum": _if_number(lambda v, rule: v < rule),
    "multipleOf": _if_number(lambda v, rule: v % rule == 0),
}
