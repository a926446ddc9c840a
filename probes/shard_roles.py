"""Who holds CHE·NU's shards: one primary each, and on which side of the ocean."""

from stormgate.faults.context import current
from stormgate.net.status import read_status


def primaries(shard: str) -> list[str]:
    """The components that are up as primary of the shard, by the steward's word. More than one is a
    split brain.
    """
    context = current()
    status = read_status(context.target)
    nodes = [
        component.name
        for component in context.target.components
        if component.attributes.get("shard") == shard
    ]
    return sorted(
        name
        for name in nodes
        if status.roles.get(name) == "primary" and status.states.get(name) == "up"
    )


def has_primary(shard: str) -> bool:
    """Whether exactly one node is up as primary of the shard."""
    return len(primaries(shard)) == 1


def primary_region(shard: str) -> str | None:
    """The region the shard's primary is in; None while there is none, or more than one."""
    found = primaries(shard)
    return current().target.component(found[0]).region if len(found) == 1 else None


def primary_continent(shard: str) -> str | None:
    """The continent the shard's primary is on: European rows have to stay in Europe, also after a
    failover.
    """
    region = primary_region(shard)
    return next((each.continent for each in current().target.regions if each.name == region), None)
