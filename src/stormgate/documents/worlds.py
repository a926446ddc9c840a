"""Mixes that need no file: the largest cities of the world, served from the regions of a public
cloud.
"""

from __future__ import annotations

from math import fsum

from stormgate.documents.mix import TrafficMix, slug
from stormgate.geography.mix import EdgeSite, Mix, Origin, checked
from stormgate.geography.places import cities, cloud_regions

CONTINENTS = {
    "AF": "africa",
    "AS": "asia",
    "EU": "europe",
    "NA": "north-america",
    "OC": "oceania",
    "SA": "south-america",
}
PROVIDERS = ("aws", "azure", "gcp")
CITIES = 120


def world(provider: str = "aws") -> TrafficMix:
    """The 120 most populous cities, each a share by its inhabitants, with the regions of `provider`
    as edges.

    Raises ValueError for a provider that is not one of aws, azure, gcp.
    """
    if provider not in PROVIDERS:
        raise ValueError(f"no cloud provider {provider!r}; choose one of {', '.join(PROVIDERS)}")
    largest = sorted(cities(), key=lambda c: -c.population)[:CITIES]
    names = [c.name for c in largest]
    people = fsum(c.population for c in largest)
    origins = tuple(
        Origin(
            name=slug(c.name)
            if names.count(c.name) == 1
            else f"{slug(c.name)}-{c.country.lower()}",
            share=c.population / people,
            latitude=c.latitude,
            longitude=c.longitude,
            country=c.country,
            time_zone=c.time_zone,
            group=CONTINENTS[c.continent],
        )
        for c in largest
    )
    continent = {c.country: CONTINENTS[c.continent] for c in cities()}
    regions = tuple(
        EdgeSite(
            name=r.code,
            latitude=r.latitude,
            longitude=r.longitude,
            country=r.country,
            region=r.code,
            group=continent[r.country],
            place=r.place,
        )
        for r in cloud_regions()
        if r.provider == provider
    )
    mix = checked(Mix(f"world-{provider}", origins, regions, regions))
    return TrafficMix(mix, title=f"the {CITIES} largest cities, served from {provider}'s regions")
