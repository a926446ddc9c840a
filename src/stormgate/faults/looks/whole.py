"""Whether a target is whole: by its own status document, else by what the platforms that run its
components say of them.
"""

from __future__ import annotations

from stormgate.faults import backends
from stormgate.faults.backends import Observation
from stormgate.faults.errors import ChaosError
from stormgate.model import Component, Target
from stormgate.net.status import Status, read_status


def look_whole(target: Target) -> Status:
    """One look. `reached` is False where nobody can tell: no status document, and no component
    whose platform says whether it stands. Never raises for what it finds.
    """
    if target.status_url is not None:
        return read_status(target)
    asked = [(part, seen) for part in target.components if (seen := stands(part)) is not None]
    if not asked:
        return read_status(target)
    fallen = [f"{part.name}: {seen.saw}" for part, seen in asked if not seen.seen]
    why = "; ".join(fallen[:3]) or f"{len(asked)} components stand, by their platform"
    return Status(reached=True, whole=not fallen, why=why)


def stands(part: Component) -> Observation | None:
    """Whether a component is whole by its platform's word; None where that says nothing of it."""
    try:
        return backends.get(part.backend).stands(part)
    except ChaosError as error:
        return Observation(False, str(error))
