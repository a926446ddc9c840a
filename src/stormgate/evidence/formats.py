"""The fields of every file of a run folder that a verdict is made of, declared once: what
`stormgate schema` prints, and what the tables of docs/evidence.md are held against.

Readers are more patient than these declarations: a field they do not know is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stormgate.model import Event, Judgement, Plan

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a row. `type` is a JSON type, or several joined by " or "; `needed`: without it
    the run is not judged PASS.
    """

    name: str
    type: str
    needed: bool = False


def _fields(needed: str, optional: str = "") -> tuple[Field, ...]:
    """Fields from `name:type name:type ...`; `|` joins types."""
    return tuple(
        Field(name, kind.replace("|", " or "), is_needed)
        for words, is_needed in ((needed, True), (optional, False))
        for name, kind in (word.split(":") for word in words.split())
    )


GENERATOR = _fields(
    "at_ns:integer worker:string window_s:number planned:integer sent:integer not_sent:integer "
    "rows:integer send_lag_p99_ms:number send_lag_max_ms:number cpu:number flow_errors:integer "
    "final:boolean",
    "seq:integer completed:integer in_flight:integer blocks:integer model:string "
    "operations:integer "
    "flow_errors_over_failures:integer streams:integer send_lag_p50_ms:number "
    "loop_lag_max_ms:number open_connections:integer new_connections:integer "
    "clock_offset_ns:integer clock_error_ms:number unreached:integer waiting:integer "
    "locked_out:integer engine_errors:integer "
    "reported:integer given_up:integer unreported:integer cut:integer "
    "locust_requests:integer locust_failures:integer",
)
RESIDENCY = _fields(
    "at_ns:integer class:string canary:string store:string phase:string scanned:boolean",
    "found:boolean|null searched:integer region:string|null allowed:array control:boolean|null "
    "why:string|null",
)
READING = _fields("at_ns:integer probe:string value:number", "error:string|null duration_ms:number")
TRACE = _fields(
    "at_ns:integer trace:string span:string parent:string kind:string status:integer",
    "service:string name:string",
)
UNDO = _fields(
    "step:string id:string",
    "schema:string target:object entry:object utc:string saw:string why:string by:string "
    "mac:string",
)
JOURNAL = _fields(
    "experiment:object status:string run:array",
    "steady_states:object deviated:boolean rollbacks:array stormgate:object",
)
TIMELINE = _fields("at_ns:integer event:string")
_FAULT = "fault:string id:string"
# What each event has besides its time and name.
EVENTS: dict[Event, tuple[Field, ...]] = {
    Event.RUN_BEGIN: _fields("", "gate:string lab_defect:string|null"),
    Event.RUN_CERTAIN: _fields("", "why:string"),
    Event.RUN_END: (),
    Event.PHASE_BEGIN: _fields("phase:string"),
    Event.PHASE_END: _fields("phase:string"),
    Event.FAULT_REQUESTED: _fields(
        f"{_FAULT} exposure:object",
        "component:string mode:string parts:array heals:boolean params:object",
    ),
    Event.FAULT_ACKNOWLEDGED: _fields(_FAULT, "component:string mode:string"),
    Event.FAULT_OBSERVED: _fields(
        f"{_FAULT} proof:string|array|object", "component:string mode:string"
    ),
    Event.FAULT_CLEARED: _fields(_FAULT, "component:string mode:string"),
    Event.FAULT_LOST: _fields(
        _FAULT, "component:string mode:string part:string saw:string last_seen_ns:integer"
    ),
    Event.FAULT_UNPROVEN: _fields("fault:string", "id:string component:string why:string"),
    Event.FAULT_UNDO_FAILED: _fields("fault:string", "id:string component:string why:string"),
    Event.FAULT_UNDO_PENDING: _fields("fault:string", "id:string component:string why:string"),
    Event.CHAOS_BEGIN: _fields("fault:string", "experiment:string"),
    Event.CHAOS_WAITING: _fields("fault:string probe:string", "within_s:number"),
    Event.CHAOS_TRIGGERED: _fields("fault:string", "saw:string"),
    Event.CHAOS_UNTRIGGERED: _fields("fault:string why:string"),
    Event.CHAOS_SKIPPED: _fields("fault:string why:string"),
    Event.CHAOS_ROLLBACK: _fields("fault:string"),
    Event.CHAOS_WITHDRAWN: _fields("by:string"),
    Event.CHAOS_FAILED: _fields("fault:string activity:string why:string"),
    Event.CHAOS_END: _fields("fault:string", "exit_code:integer|null journal:string"),
    Event.GAMEDAY_STEP: _fields("step:string digest:string", "says:string"),
    Event.GAMEDAY_ANSWER: _fields("answer:string", "step:string by:string"),
    Event.GAMEDAY_NOTE: _fields("text:string", "step:string by:string"),
    Event.TARGET_UP: _fields("", "target:string"),
    Event.TARGET_WHOLE: _fields("", "whole:boolean why:string"),
    Event.READ_BACK_BEGIN: (),
    Event.READ_BACK_END: _fields("", "whole:boolean why:string"),
    Event.LOAD_READY: (),
    Event.LOAD_STEP: (),
    Event.LOAD_END: (),
    Event.LOAD_LOST: _fields("worker:string", "why:string"),
    Event.LOAD_FLOW_ERROR: _fields(
        "flow:string traceback:string", "worker:string over_failure:boolean"
    ),
    Event.LOAD_ENGINE_ERROR: _fields("traceback:string", "worker:string"),
    Event.LOAD_FAILURE: _fields(
        "route:string outcome:string status:integer",
        "worker:string expected:string url:string",
    ),
    Event.LOAD_REASON: _fields("kind:string place:string why:string", "worker:string"),
    Event.NET_REFUSED: _fields(
        "by:string who:string where:string count:integer",
        "fault:string worker:string pid:integer",
    ),
    Event.ABORT: _fields("", "why:string by:string"),
    Event.ERROR: _fields("", "why:string by:string"),
}

ROWS: dict[str, tuple[Field, ...]] = {
    "generator": GENERATOR,
    "reading": READING,
    "residency": RESIDENCY,
    "trace": TRACE,
    "undo": UNDO,
    "journal": JOURNAL,
}


def schemas() -> dict[str, dict[str, Any]]:
    """Name -> JSON Schema (draft 2020-12) of plan.json, verdict.json, a journal, and of one row of
    each file of rows. The laws (docs/evidence.md) want more.
    """
    from pydantic import TypeAdapter

    found = {name: {"$schema": DIALECT, **_object(fields)} for name, fields in sorted(ROWS.items())}
    found["timeline"] = _timeline()
    for name, cls in (("plan", Plan), ("verdict", Judgement)):
        found[name] = {"$schema": DIALECT, **TypeAdapter(cls).json_schema()}
    return found


def _object(fields: Sequence[Field]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {field.name: _type(field.type) for field in fields},
        "required": [field.name for field in fields if field.needed],
    }


def _type(words: str) -> dict[str, Any]:
    kinds = words.split(" or ")
    return {"type": kinds[0] if len(kinds) == 1 else kinds}


def _timeline() -> dict[str, Any]:
    """Any event may come with any further field; those that are known are held to theirs."""
    base = _object(TIMELINE)
    rules: list[Mapping[str, Any]] = []
    for event, fields in EVENTS.items():
        then = {key: value for key, value in _object(fields).items() if key != "type"}
        is_event = {"properties": {"event": {"const": event.value}}}
        rules.append({"if": is_event, "then": then})
    base["properties"]["event"] = {"enum": [event.value for event in Event]}
    return {"$schema": DIALECT, **base, "allOf": rules}
