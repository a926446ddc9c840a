"""`rtt:` of a target: round trips that somebody measured, between places it names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stormgate import model
from stormgate.documents.problems import nearest
from stormgate.documents.target_shape import RoundTripShape, TargetSpec

Note = Callable[..., None]


def trips(said: Sequence[RoundTripShape]) -> tuple[model.GivenTrip, ...]:
    """The round trips as the model has them."""
    return tuple(model.GivenTrip(a=t.between[0], b=t.between[1], rtt_ms=t.takes) for t in said)


def check_trips(spec: TargetSpec, note: Note) -> None:
    """Both ends must be places of the target, and no pair may be given twice."""
    lab = (spec.provision or {}).get("lab") or {}
    pops = lab.get("pops")
    sites = [p.get("name") for p in pops if isinstance(p, dict)] if isinstance(pops, list) else []
    places = [p.name for p in (*spec.regions, *spec.populations)] + [str(s) for s in sites]
    given: set[frozenset[str]] = set()
    for index, trip in enumerate(spec.rtt):
        for at, name in enumerate(trip.between):
            if name not in places:
                told = f"round trip to {name!r}, which is no place of this target"
                note(told, nearest(name, places, what="places"), "rtt", index, "between", at)
        pair = frozenset(trip.between)
        if len(pair) == 1 or pair in given:
            told = "the round trip from a place to itself" if len(pair) == 1 else "given twice"
            fix = "name two places, and each pair once"
            note(f"{' and '.join(trip.between)}: {told}", fix, "rtt", index)
        given.add(pair)
