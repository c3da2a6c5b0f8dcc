"""JSON Schema 2020-12, the part that core/api/openapi.json uses. A keyword that is not known here is an error, never ignored.

check(value, schema, root) returns the first mismatches as lines `pointer: what`. An object is held against the members its
schema names: a member nobody described is a mismatch, unless the schema says additionalProperties. Standard library only.
"""
import datetime
import re

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
SILENT = {"description", "title", "example", "examples", "default", "deprecated", "contentMediaType", "$comment"}


def resolve(schema, root):
    while "$ref" in schema:
        place = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            place = place[part.replace("~1", "/").replace("~0", "~")]
        schema = place
    return schema


def is_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def date_time(text):
    try:
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).tzinfo is not None
    except ValueError:
        return False


FORMATS = {"date-time": date_time, "int64": lambda _: True, "double": lambda _: True,
           "uri": lambda text: re.match(r"[a-z][a-z0-9+.-]*:", text) is not None}


def members(schema, root):
    """Every member name that the schema or one of its parts describes; None: any."""
    schema = resolve(schema, root)
    names = set(schema.get("properties", ()))
    if "additionalProperties" in schema:
        return None
    for part in [*schema.get("allOf", ()), *schema.get("anyOf", ()), *schema.get("oneOf", ())]:
        more = members(part, root)
        if more is None:
            return None
        names |= more
    return names


def an_object(value, schema, root, where, closed):
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{where}: {name} is missing"
    for name, member in schema.get("properties", {}).items():
        if name in value:
            yield from mismatches(value[name], member, root, f"{where}/{name}")
    other = schema.get("additionalProperties")
    if isinstance(other, dict):
        for name in set(value) - set(schema.get("properties", ())):
            yield from mismatches(value[name], other, root, f"{where}/{name}")
    known = members(schema, root) if closed else None
    if known or other is False:
        for name in sorted(set(value) - (known or set(schema.get("properties", ())))):
            yield f"{where}: {name} is not described"


def an_array(value, schema, root, where):
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{where}: {len(value)} entries"
    if schema.get("uniqueItems") and len({repr(part) for part in value}) < len(value):
        yield f"{where}: an entry is there twice"
    for place, part in enumerate(value):
        yield from mismatches(part, schema.get("items", {}), root, f"{where}/{place}")


def a_scalar(value, schema, where):
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{where}: {value!r} is not {schema['const']!r}"
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield f"{where}: {len(value)} characters"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{where}: {value!r} does not match {schema['pattern']}"
        if "format" in schema and not FORMATS[schema["format"]](value):
            yield f"{where}: {value!r} is no {schema['format']}"
    elif is_type(value, "number") and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{where}: {value} is out of range"


KNOWN = SILENT | {"type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "uniqueItems", "enum",
                  "const", "minLength", "maxLength", "pattern", "format", "minimum", "maximum", "allOf", "anyOf", "oneOf", "$ref"}


def mismatches(value, schema, root, where="", closed=True):
    schema = resolve(schema, root)
    if set(schema) - KNOWN:
        raise ValueError(f"{where}: keywords this validator does not know: {sorted(set(schema) - KNOWN)}")
    types = schema.get("type")
    if types and not any(is_type(value, name) for name in ([types] if isinstance(types, str) else types)):
        yield f"{where}: {value!r:.60} is not {types}"
        return
    yield from a_scalar(value, schema, where)
    if isinstance(value, dict):
        yield from an_object(value, schema, root, where, closed)
    if isinstance(value, list):
        yield from an_array(value, schema, root, where)
    for part in schema.get("allOf", ()):                   # what the parts do not name the whole may
        yield from mismatches(value, part, root, where, closed=False)
    for word, wanted in (("anyOf", None), ("oneOf", 1)):
        if word in schema:
            fits = sum(not list(mismatches(value, part, root, where)) for part in schema[word])
            if not fits or (wanted and fits != wanted):
                yield f"{where}: fits {fits} of {word}"


def check(value, schema, root):
    return list(mismatches(value, schema, root))[:5]
