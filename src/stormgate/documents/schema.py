"""JSON Schema of every kind of document, so that editors complete and check them while they are
written.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from pydantic import BaseModel

from stormgate.documents.days.shape import DayDocument
from stormgate.documents.gate_shape import GateDocument, WaiversDocument
from stormgate.documents.incident.shape import IncidentShape
from stormgate.documents.objectives import kinds, written_keys
from stormgate.documents.slo.shape import SliDocument, SloDocument
from stormgate.documents.target_shape import TargetDocument
from stormgate.documents.values import DURATION_SCHEMA, SHARE_SCHEMA
from stormgate.faults import backends

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SHAPES: dict[str, type[BaseModel]] = {
    "ReleaseGate": GateDocument,
    "Target": TargetDocument,
    "Waivers": WaiversDocument,
    "GameDay": DayDocument,
    "Incident": IncidentShape,
    "SLO": SloDocument,
    "SLI": SliDocument,
}


def schemas() -> dict[str, dict[str, Any]]:
    """Kind -> its JSON Schema (draft 2020-12). The reader checks more: references, sums, files."""
    found = {
        kind: {"$schema": DIALECT, **shape.model_json_schema(by_alias=True)}
        for kind, shape in SHAPES.items()
    }
    _say_backends(found["Target"])
    gate = found["ReleaseGate"]
    objectives = {
        f"objective-{name}": objective_schema(name, spec) for name, spec in sorted(kinds().items())
    }
    for name, schema in objectives.items():
        gate["$defs"] |= {
            f"{name}-{key}": _moved(value, f"{name}-")
            for key, value in schema.pop("$defs", {}).items()
        }
        gate["$defs"][name] = _moved(schema, f"{name}-")
    gate["$defs"].pop("ObjectiveShape", None)
    gate["$defs"]["GateSpec"]["properties"]["objectives"]["items"] = {
        "oneOf": [{"$ref": f"#/$defs/{n}"} for n in objectives]
    }
    return found


def _say_backends(target: dict[str, Any]) -> None:
    """What each backend wants as handle, in the schema of a component."""
    component = target["$defs"]["ComponentShape"]
    component["properties"]["backend"]["enum"] = list(backends.writable())
    handles = {name: backends.get(name).handle for name in backends.writable()}
    for name, handle in handles.items():
        target["$defs"][f"handle-{name}"] = handle.model_json_schema(by_alias=True)
    component["allOf"] = [
        {
            "if": {"properties": {"backend": {"const": name}}, "required": ["backend"]},
            "then": {
                "properties": {"handle": {"$ref": f"#/$defs/handle-{name}"}},
                **({"required": ["handle"]} if _needs_any(handle) else {}),
            },
        }
        for name, handle in handles.items()
    ]


def _needs_any(handle: type[BaseModel]) -> bool:
    return any(field.is_required() for field in handle.model_fields.values())


def combined() -> dict[str, Any]:
    """One schema for a file of any of the kinds: what an editor is pointed at for a file with
    several documents.
    """
    definitions: dict[str, Any] = {}
    for kind, schema in schemas().items():
        definitions |= {
            f"{kind}-{key}": _moved(value, f"{kind}-")
            for key, value in schema.pop("$defs", {}).items()
        }
        schema.pop("$schema")
        definitions[kind] = _moved(schema, f"{kind}-")
    return {
        "$schema": DIALECT,
        "title": "Stormgate",
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in SHAPES],
        "$defs": definitions,
    }


def objective_schema(kind: str, spec: type[BaseModel]) -> dict[str, Any]:
    """One objective kind as it is written in a gate: its fields with units in their values, and
    what every objective has.
    """
    raw = spec.model_json_schema(by_alias=False)
    properties: dict[str, Any] = {
        "name": {"type": "string"},
        "kind": {"const": kind},
        "slo": {
            "type": "string",
            "description": "Take the target, the time limit and the filter from this SLO.",
        },
        "sloObjective": {
            "type": ["string", "integer"],
            "description": "Which of the SLO's objectives: its displayName, or its number from 1.",
        },
    }
    written = written_keys(spec)
    for key, name in written.items():
        properties[key] = _as_written(name, raw["properties"][name])
    names = {field: key for key, field in written.items()}
    required = [names[name] for name in raw.get("required", [])]
    schema: dict[str, Any] = {
        "type": "object",
        "description": raw.get("description", ""),
        "properties": properties,
        "required": ["name", "kind"],
        "additionalProperties": False,
        "$defs": raw.get("$defs", {}),
    }
    if required:
        # An SLO says what an objective would otherwise have to.
        schema["anyOf"] = [{"required": ["slo"]}, {"required": required}]
    return schema


def _as_written(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {key: schema[key] for key in ("description", "title") if key in schema}
    if name.endswith(("_ms", "_s")):
        return {**DURATION_SCHEMA, **said}
    if schema.get("type") == "number":
        return {
            "anyOf": [
                {k: v for k, v in schema.items() if k not in ("default", "title")},
                SHARE_SCHEMA["anyOf"][1],
            ],
            **said,
        }
    choices = schema.get("anyOf", [])
    if [one.get("type") for one in choices] == ["number", "null"]:
        # A number that may be left out is no less a share than one that may not.
        return {"anyOf": [choices[0], SHARE_SCHEMA["anyOf"][1], choices[1]], **said}
    if schema.get("type") == "array":
        # One word may stand for a list of one.
        return {"anyOf": [schema, {"type": "string"}], **said}
    if name == "where":
        word = {"type": "string"}
        return {
            "type": "object",
            "additionalProperties": {"anyOf": [word, {"type": "array", "items": word}]},
            **said,
        }
    return schema


def _moved(schema: dict[str, Any], prefix: str) -> dict[str, Any]:
    """A schema whose references point at definitions that were renamed with a prefix."""
    moved: dict[str, Any] = json.loads(
        json.dumps(copy.deepcopy(schema)).replace('"#/$defs/', f'"#/$defs/{prefix}')
    )
    return moved
