"""Points of presence that are shut: everybody is served from a region."""

from __future__ import annotations

import dataclasses

from stormgate.lab.design.layout import Layout

SUMMARY = "no user is steered to a point of presence: all go to a region's edge"
FOUND_BY = ("latency",)


def layout(healthy: Layout) -> Layout:
    """The points of presence stay, and nobody is told of them."""
    if not healthy.pops:
        return healthy
    pops = {pop.component for pop in healthy.pops}
    orders = {
        name: tuple(edge for edge in order if edge not in pops)
        for name, order in healthy.orders.items()
    }
    return dataclasses.replace(healthy, orders=orders)
