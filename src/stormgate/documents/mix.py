"""Traffic mixes from files: a TrafficMix document, or the populations of a target."""

from __future__ import annotations

from pathlib import Path

from stormgate.documents.problems import Problems
from stormgate.documents.problems import nearest as nearest_word
from stormgate.documents.traffic.document import KIND, TrafficMix, read_edges, read_traffic, slug
from stormgate.documents.values import show
from stormgate.documents.yamlfile import read_documents
from stormgate.geography.mix import EdgeSite, Mix, Origin, checked
from stormgate.geography.roundtrips import RoundTrips
from stormgate.model import Target

KINDS = (KIND, "Target")
__all__ = ["KIND", "TrafficMix", "mix_of_target", "read_edges", "read_mix", "slug"]


def read_mix(path: Path) -> TrafficMix:
    """The mix of a TrafficMix document, or of a target with populations. Raises DocumentErrors."""
    problems = Problems()
    documents = read_documents(path, problems)
    problems.raise_any()
    kinds = [d.data.get("kind") if isinstance(d.data, dict) else None for d in documents]
    if "Target" in kinds:
        from stormgate.documents import load_target

        return TrafficMix(mix_of_target(load_target(path)))
    for document, kind in zip(documents, kinds, strict=True):
        if kind != KIND:
            what = f"kind {show(kind)}" if kind else "a document without a kind"
            problems.add(
                document.file,
                document.line("kind"),
                f"{what} has no traffic to show",
                nearest_word(str(kind), KINDS),
            )
    problems.raise_any()
    if len(documents) > 1:
        problems.add(
            documents[1].file,
            documents[1].line(),
            "a second TrafficMix in one file",
            "keep one in a file",
        )
    return read_traffic(documents[0], problems)


def mix_of_target(target: Target) -> Mix:
    """The populations and regions of a target as a mix. Raises MixError where the target has no
    populations.
    """
    origins = tuple(
        Origin(
            name=p.name,
            share=p.share,
            latitude=p.latitude,
            longitude=p.longitude,
            country=p.labels.get("country", ""),
            group=p.labels.get("continent", ""),
            last_mile_ms=p.last_mile_ms,
        )
        for p in target.populations
    )
    regions = tuple(
        EdgeSite(name=r.name, latitude=r.latitude, longitude=r.longitude, group=r.continent or "")
        for r in target.regions
    )
    trips = RoundTrips.of((t.a, t.b, t.rtt_ms) for t in target.round_trips)
    return checked(Mix(target.name, origins, regions, regions, trips))
