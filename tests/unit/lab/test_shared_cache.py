"""What an edge keeps for everybody: for as long as the origin says, and asked for once."""

from __future__ import annotations

import asyncio

import pytest

from stormgate.lab.defects.edges.low_hit_rate import PersonalCache
from stormgate.lab.defects.edges.no_single_flight import RushingCache
from stormgate.lab.defects.edges.ttl_ignored import EternalCache
from stormgate.lab.services.shared_cache import SharedCache
from stormgate.net.httpserver import HttpResponse


class Origin:
    """Answers after a while, and counts."""

    def __init__(self, max_age: str = "60", status: int = 200) -> None:
        self.asked, self.max_age, self.status = 0, max_age, status

    async def fetch(self) -> HttpResponse:
        self.asked += 1
        await asyncio.sleep(0.02)
        said = {"cache-control": f"max-age={self.max_age}", "x-chenu-tier": "replica"}
        return HttpResponse(self.status, b"it", said)


def asked_by(cache: SharedCache, origin: Origin, users: list[str]) -> list[str]:
    """How each was answered who asked at the same time."""

    async def everybody() -> list[HttpResponse]:
        keys = [cache.key("/digest/personal", user, "eu") for user in users]
        return await asyncio.gather(*(cache.answer(key, origin.fetch) for key in keys))

    return [r.headers.get("x-chenu-cache", "none") for r in asyncio.run(everybody())]


def test_one_goes_to_the_origin_and_the_others_wait() -> None:
    cache, origin = SharedCache(), Origin()
    assert asked_by(cache, origin, ["a", "b", "c"]) == ["miss", "shared", "shared"]
    assert asked_by(cache, origin, ["d"]) == ["hit"]
    assert origin.asked == 1


def test_what_has_run_out_is_asked_for_again() -> None:
    cache, origin = SharedCache(), Origin(max_age="0.01")
    assert asked_by(cache, origin, ["a"]) == ["miss"]
    asyncio.run(asyncio.sleep(0.03))
    assert asked_by(cache, origin, ["a"]) == ["miss"]


@pytest.mark.parametrize("origin", [Origin(status=503), Origin(max_age="none")])
def test_a_failure_and_what_says_no_age_are_not_kept(origin: Origin) -> None:
    cache = SharedCache()
    asked_by(cache, origin, ["a"])
    asked_by(cache, origin, ["a"])
    assert origin.asked == 2


def test_a_fetch_that_raises_leaves_nobody_waiting_for_ever() -> None:
    async def breaks() -> HttpResponse:
        await asyncio.sleep(0.01)
        raise ConnectionError("gone")

    async def two() -> list[object]:
        cache = SharedCache()
        both = (cache.answer(("x",), breaks), cache.answer(("x",), breaks))
        async with asyncio.timeout(2):
            return await asyncio.gather(*both, return_exceptions=True)

    first, second = asyncio.run(two())
    assert isinstance(first, ConnectionError)
    assert isinstance(second, asyncio.CancelledError | ConnectionError | HttpResponse)


def test_the_planted_faults_are_what_they_say() -> None:
    rushing, personal, eternal = Origin(), Origin(), Origin(max_age="0")
    assert asked_by(RushingCache(), rushing, ["a", "b", "c"]) == ["miss"] * 3
    cache: SharedCache = PersonalCache()
    assert asked_by(cache, personal, ["a", "b"]) == ["miss", "miss"]
    assert asked_by(cache, personal, ["a"]) == ["hit"]
    eternal.max_age = "0.01"
    cache = EternalCache()
    asked_by(cache, eternal, ["a"])
    asyncio.run(asyncio.sleep(0.03))
    assert asked_by(cache, eternal, ["a"]) == ["hit"]
