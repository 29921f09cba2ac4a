"""Where a report is not as its JSON Schema says."""

import re
from typing import Any


def violations(value: Any, schema: dict[str, Any], root: dict[str, Any], place: str = "") -> list[str]:
    """Where a value is not as a JSON Schema says; the keywords that ours uses, and no other."""
    known = {
        "string": str,
        "number": (int, float),
        "integer": int,
        "boolean": bool,
        "object": dict,
        "array": list,
        "null": type(None),
    }
    found = []
    for keyword, wanted in schema.items():
        if keyword == "$ref":
            found += violations(value, root["$defs"][wanted.split("/")[-1]], root, place)
        elif keyword == "type":
            kinds = [known[name] for name in ([wanted] if isinstance(wanted, str) else wanted)]
            if not any(
                isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool) for kind in kinds
            ):
                found.append(f"{place} is no {wanted}")
        elif keyword in ("enum", "const"):
            found += [] if value in (wanted if keyword == "enum" else [wanted]) else [f"{place} is not {wanted}"]
        elif keyword == "anyOf":
            found += (
                [] if any(not violations(value, option, root, place) for option in wanted) else [f"{place} fits none"]
            )
        elif keyword == "required":
            found += [f"{place} lacks {name}" for name in wanted if name not in value]
        elif keyword in ("properties", "additionalProperties") and isinstance(value, dict):
            named = schema.get("properties", {})
            for name, part in value.items():
                here = named.get(name) if keyword == "properties" else None if name in named else wanted
                if here is False:
                    found.append(f"{place} has {name}")
                elif here is not None:
                    found += violations(part, here, root, f"{place}/{name}")
        elif keyword == "items":
            found += [
                line
                for number, part in enumerate(value)
                for line in violations(part, wanted, root, f"{place}/{number}")
            ]
        elif keyword in ("minItems", "maxItems", "maxLength", "minimum"):
            size = value if keyword == "minimum" else len(value)
            found += (
                [] if (size <= wanted if keyword.startswith("max") else size >= wanted) else [f"{place}: {keyword}"]
            )
        elif keyword == "propertyNames":
            found += [f"{place}: {name}" for name in value if not re.search(wanted["pattern"], name)]
        else:
            assert keyword in ("description", "title", "$schema", "$id", "$defs", "pattern"), keyword
    return found
