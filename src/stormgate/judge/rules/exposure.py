"""Did anyone meet the fault? What is broken must have carried traffic before; a fault on what
nobody uses proves nothing, however surely it broke.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.laws import exposure_of
from stormgate.evidence.samples import CODED, Block
from stormgate.evidence.timeline import SECOND_NS, Broken, FaultWindow
from stormgate.judge.rules.validity import finding
from stormgate.model import Component, Finding, Plan, Population

Array = NDArray[Any]

# How long before the injection samples testify: long enough for a rare cell, too short for the
# state before the last fault.
BEFORE_NS = 10 * SECOND_NS
_LINK, _SURGE = "link", "surge"
# So many failures, beyond three times what was usual before, are no chance.
_FELT = 5


@dataclass
class _Seat:
    """One broken thing, the components that stand for it, and what the samples say of them."""

    fault: FaultWindow
    broken: Broken
    components: tuple[Component, ...]
    dialled_by: frozenset[str]
    until_ns: int
    named: dict[str, int] = field(default_factory=dict)
    before: int = 0
    bad_before: int = 0
    during: int = 0
    bad_during: int = 0

    @property
    def felt(self) -> bool:
        """Whether users failed while it stood, far beyond what was usual before."""
        usual = self.bad_before / self.before * self.during if self.before else 0.0
        return self.before > 0 and self.bad_during >= _FELT + 3 * usual


class Exposures:
    """Reads of the samples whether what was broken was in use: by the labels of answers just before
    (a component by name; by its attributes; else by its region), by the users who dial nothing
    else, by those who failed when it broke.
    """

    def __init__(self, plan: Plan, faults: Sequence[FaultWindow]) -> None:
        target = plan.target
        by_name = {component.name: component for component in target.components}
        facts = {key for population in target.populations for key in population.labels}
        # A fact known before any answer says nothing of who answered, unless answers say it too.
        self._mute = {*CODED, *(facts - set(target.observe))}
        self._seats = []
        for fault in faults:
            for broken in fault.broken:
                names = dict.fromkeys((broken.component, *broken.parts))
                own = tuple(by_name[name] for name in names if name in by_name)
                until_ns = fault.rollback_ns or fault.end_ns or broken.requested_ns
                dialled = _dialled_by(own, target.populations)
                self._seats.append(_Seat(fault, broken, own, dialled, until_ns))

    def add(self, block: Block) -> None:
        low, high = int(block.intended_ns.min()), int(block.intended_ns.max())
        for seat in self._seats:
            at = seat.broken.requested_ns
            if high < at - BEFORE_NS or low >= seat.until_ns:
                continue
            sent = ~block.not_sent
            before = sent & (block.intended_ns >= at - BEFORE_NS) & (block.intended_ns < at)
            during = sent & (block.intended_ns >= at) & (block.intended_ns < seat.until_ns)
            seat.before += int(before.sum())
            seat.bad_before += int((before & ~block.ok).sum())
            seat.during += int(during.sum())
            seat.bad_during += int((during & ~block.ok).sum())
            # An answer that came after the injection may have come from elsewhere.
            answered = before & block.ok & (block.done_ns <= at)
            if answered.any():
                self._testify(seat, block, answered)

    def _testify(self, seat: _Seat, block: Block, answered: Array) -> None:
        for component in seat.components:
            count = int((answered & self._served(block, component)).sum())
            if count:
                seat.named[component.name] = seat.named.get(component.name, 0) + count
        if seat.dialled_by:
            mask = block.columns["population"].known(seat.dialled_by)[block.codes["population"]]
            count = int((answered & mask).sum())
            if count:
                seat.named["users"] = seat.named.get("users", 0) + count

    def _served(self, block: Block, component: Component) -> Array:
        """Which rows say that this component had a part in the answer."""
        labels = [name for name in block.codes if name not in self._mute]
        mask = np.zeros(len(block), bool)
        for name in labels:
            mask |= _is(block, name, component.name)
        if component.kind == _LINK:
            return mask  # what its region serves says nothing of the ways there
        facts = {key: value for key, value in component.attributes.items() if key in labels}
        if facts:
            told = np.ones(len(block), bool)
            for key, value in facts.items():
                told &= _is(block, key, value)
            return mask | told
        region = component.region or ""
        if region:
            told = np.zeros(len(block), bool)
            for name in labels:
                told |= _is(block, name, region)
            if component.kind in labels:
                told &= block.codes[component.kind] > 0
            mask |= told
        return mask

    def finding(self) -> Finding:
        """INCONCLUSIVE when something broken was not seen to be used, or nobody can tell."""
        problems, told = [], {}
        for seat in self._seats:
            met, words = _decide(seat)
            name = f"{seat.fault.name}: {seat.broken.component or seat.broken.id}"
            told[name] = words
            if not met:
                problems.append(f"{name}: {words}")
        many = len(self._seats)
        ok = f"what was broken was in use ({many})" if many else "nothing was broken"
        return finding("exposure", problems, ok=ok, seen=told)


def _decide(seat: _Seat) -> tuple[bool, str]:
    """Whether the fault could be met, and why, in words."""
    if seat.broken.mode == _SURGE:
        return True, "more users, nothing broken"
    if seat.named:
        name, count = max(seat.named.items(), key=lambda pair: (pair[1], pair[0]))
        dialled = "went straight to it" if name == "users" else f"were served by {name}"
        return True, f"{count:,} requests just before {dialled}"
    try:
        used, saw = exposure_of(seat.broken.exposure)
    except ValueError as error:
        used, saw = None, str(error)
    if used:
        return True, saw
    if _declared(seat, "none"):
        return True, f"declared to carry no traffic, a standby ({saw})"
    if seat.felt and (used is None or len(seat.fault.broken) == 1):
        return True, (
            f"{seat.bad_during:,} of {seat.during:,} requests failed while it stood, "
            f"{seat.bad_before:,} of {seat.before:,} before"
        )
    if used is False:
        return False, f"nobody used it: {saw}"
    if _declared(seat, "assured"):
        return True, f"in use by its owner's word alone ({saw})"
    return False, f"nobody used it, as far as anyone can tell: {saw}, and no sample names it"


def _declared(seat: _Seat, traffic: str) -> bool:
    """What the target document says of the broken thing itself, else of all its parts."""
    itself = [c for c in seat.components if c.name == seat.broken.component]
    if any(c.traffic == traffic for c in itself):
        return True
    parts = [c for c in seat.components if c.name != seat.broken.component]
    return bool(parts) and all(c.traffic == traffic for c in parts)


def _dialled_by(
    components: Sequence[Component], populations: Sequence[Population]
) -> frozenset[str]:
    """The populations that have only one address to dial, and dial one of these components."""
    addresses = {c.observe.address for c in components if c.observe is not None}
    found = set()
    for population in populations:
        links: Mapping[str, str] = population.links
        dialled = {url.partition("://")[2].partition("/")[0] for url in links.values()}
        if dialled and dialled <= addresses:
            found.add(population.name)
    return frozenset(found)


def _is(block: Block, column: str, value: str) -> Array:
    """Which rows hold this value in a label column."""
    mask: Array = block.columns[column].known((value,))[block.codes[column]]
    return mask
