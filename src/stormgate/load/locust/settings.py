"""What a worker needs to know before it starts: from plan.json when there is one, else from
Locust's own options.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stormgate.load.engine.pool import Pools
from stormgate.model import Plan, Population, Steering, from_json
from stormgate.net.allow import AllowList
from stormgate.net.references import with_secrets

DEFAULT_POPULATION = "default"


class SettingsError(ValueError):
    """The plan or the options do not say where to send what; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The populations and how they are reached, steered and labelled. `rate_per_s` and `users`:
    None without a plan.
    """

    populations: tuple[Population, ...]
    seed: int = 0
    steering: Steering = field(default_factory=Steering)
    observe: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] | None = None
    rate_per_s: float | None = None
    users: int | None = None
    workers: int | None = None
    weight_sum: float | None = None
    engine: str | None = None

    @property
    def scale(self) -> float:
        """What a user class's own rate is multiplied by, so that all streams together make the
        plan's rate: 1 without a plan. `weight_sum` is the sum of the streams' own rates.
        """
        weights = self.weight_sum or self.users
        return self.rate_per_s / weights if self.rate_per_s and weights else 1.0

    @property
    def shares(self) -> dict[str, float]:
        return {population.name: population.share for population in self.populations}

    def places(self) -> dict[str, Pools]:
        """A fresh `Place` per population. Raises SettingsError for an edge without a link, or a
        link that is no URL.
        """
        found = {}
        for index, population in enumerate(self.populations):
            urls = {
                edge: population.links[edge]
                for edge in population.edges
                if edge in population.links
            }
            try:
                found[population.name] = Pools(population, index, urls)
            except ValueError as error:
                raise SettingsError(f"population {population.name!r}: {error}") from None
        return found

    def allow_list(self) -> AllowList:
        return AllowList(self.allow)


def settings_from_plan(path: Path) -> Settings:
    """Settings of a resolved plan. Raises SettingsError naming the file when it is missing or not a
    plan.
    """
    try:
        plan = from_json(Plan, json.loads(path.read_bytes()))
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror}); STORMGATE_PLAN must name a plan.json"
        ) from None
    except ValueError as error:
        raise SettingsError(f"{path}: not a plan ({str(error).splitlines()[0]})") from None
    try:
        target = with_secrets(plan.target, os.environ)
    except KeyError as error:
        raise SettingsError(
            f"{path}: the target refers to ${{{error.args[0]}}}, which is not set"
        ) from None
    if not target.populations:
        raise SettingsError(f"{path}: the target has no populations: nobody to send requests as")
    return Settings(
        populations=target.populations,
        seed=plan.seed,
        steering=target.steering,
        observe=target.observe,
        allow=target.allow,
        rate_per_s=plan.load.rate_per_s,
        users=plan.load.users,
        workers=plan.load.workers,
        engine=plan.load.engine,
    )


def settings_from_host(host: str | None, seed: int = 0) -> Settings:
    """One population that dials Locust's `--host`. Raises SettingsError when there is none."""
    if not host:
        raise SettingsError(
            "no host: pass -H http://host[:port], or set STORMGATE_PLAN to a run's plan.json"
        )
    population = Population(
        name=DEFAULT_POPULATION,
        share=1.0,
        latitude=0.0,
        longitude=0.0,
        edges=("host",),
        links={"host": host},
    )
    return Settings(populations=(population,), seed=seed)
