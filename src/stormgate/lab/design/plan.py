"""The lab on paper, drawn from a Target: its shards, its processes and links as their kinds declare
them, and which edge each population prefers. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stormgate.lab.design.layout import Layout, Shard, hop_ms
from stormgate.lab.design.pops import nearest_pops, sites
from stormgate.lab.errors import LabError
from stormgate.lab.kinds import kinds
from stormgate.model import Population, Region, Target

DEFAULT_USERS_PER_SHARD = 1000
_NAME = re.compile(r"[a-z][a-z0-9-]{0,60}\Z")
# With points of presence, so many edges of regions are behind them.
_REGIONS_BESIDE = 1
_SHARD_KEYS = {"name", "primary", "standby"}


def plan(target: Target) -> Layout:
    """The layout of the lab that `target.provision["lab"]` asks for. Raises LabError naming what is
    wrong.
    """
    wanted = (target.provision or {}).get("lab")
    if not isinstance(wanted, Mapping):
        raise LabError(f"target {target.name!r} does not ask for a lab: provision.lab is missing")
    for name in [
        *(region.name for region in target.regions),
        *(population.name for population in target.populations),
    ]:
        _check_name(name, target)
    shards = _shards(wanted, target)
    pops = sites(wanted, target)
    orders = {
        population.name: (
            *nearest_pops(population, pops, target),
            *_order(population, target, shards)[: _REGIONS_BESIDE if pops else None],
        )
        for population in target.populations
    }
    users = wanted.get("users_per_shard", wanted.get("usersPerShard", DEFAULT_USERS_PER_SHARD))
    if not isinstance(users, int) or not 1 <= users <= 100_000:
        raise LabError(
            f"target {target.name!r}: provision.lab.usersPerShard must be from 1 to 100000, "
            f"not {users!r}"
        )
    bare = Layout(target, shards, orders, users, pops=pops)
    ranked = sorted(kinds().values(), key=lambda kind: kind.rank)
    peopled = replace(bare, parts=tuple(part for kind in ranked for part in kind.parts(bare)))
    return replace(peopled, links=tuple(link for kind in ranked for link in kind.links(peopled)))


def _check_name(name: object, target: Target) -> None:
    """Names become parts of file names, SQL and proxy names."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise LabError(
            f"target {target.name!r}: the lab wants names of small letters, digits and dashes, "
            f"not {name!r}"
        )


def _shards(wanted: Mapping[str, Any], target: Target) -> tuple[Shard, ...]:
    regions = {region.name for region in target.regions}
    shards = []
    for entry in wanted.get("shards") or ():
        if not isinstance(entry, Mapping) or set(entry) != _SHARD_KEYS:
            raise LabError(
                f"target {target.name!r}: each of provision.lab.shards needs name, primary and "
                f"standby: {entry!r}"
            )
        shard = Shard(**entry)
        _check_name(shard.name, target)
        for name in shard.regions:
            if name not in regions:
                raise LabError(
                    f"target {target.name!r}: shard {shard.name!r} is in {name!r}, which is "
                    "none of its regions"
                )
        if shard.primary == shard.standby:
            raise LabError(
                f"target {target.name!r}: shard {shard.name!r} has primary and standby both in "
                f"{shard.primary!r}"
            )
        shards.append(shard)
    if not shards or len({shard.name for shard in shards}) != len(shards):
        raise LabError(
            f"target {target.name!r}: provision.lab.shards must list at least one shard, each "
            "name once"
        )
    if not target.populations:
        raise LabError(f"target {target.name!r} has no populations: nobody could reach the lab")
    return tuple(shards)


def _order(population: Population, target: Target, shards: tuple[Shard, ...]) -> tuple[str, ...]:
    """Edges by the whole way to the population's data: the nearest edge is not the best if the data
    is far from it.
    """
    home = next((shard for shard in shards if shard.name == population.labels.get("shard")), None)
    replicas = [region for region in target.regions if home is None or region.name in home.regions]

    def way_ms(region: Region) -> tuple[int, str]:
        return hop_ms(target, population, region) + min(
            hop_ms(target, region, replica) for replica in replicas
        ), region.name

    return tuple(f"{region.name}/edge" for region in sorted(target.regions, key=way_ms))
