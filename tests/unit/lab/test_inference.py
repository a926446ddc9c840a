"""The assistant: which tier answers what, who stands in for whom, and what it says it cost. Over
loopback, with the model servers' own program.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stormgate.documents import load_target
from stormgate.documents.components import Components
from stormgate.lab.defects.running import (
    cost_creep,
    silicon_no_gain,
    tier_misroute,
    tier_no_fallback,
)
from stormgate.lab.design.inference import TASKS, TIERS, price_usd, servers, tiers_for, time_ms
from stormgate.lab.design.plan import plan
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.errors import LabError
from stormgate.lab.services.inference.model import ModelProgram
from stormgate.lab.services.inference.router import InferenceRouter
from stormgate.model import Target
from stormgate.net import httpserver
from stormgate.net.httpserver import HttpRequest, HttpResponse

ROOT = Path(__file__).parents[3]
SETTINGS = LabSettings(route_probe_s=0.05)
Made = Callable[[dict[str, Any]], ModelProgram]
Router = Callable[[list[dict[str, Any]], LabSettings], InferenceRouter]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Models:
    """Servers of all tiers and fleets, each to be ended by its name."""

    def __init__(self, made: Made, fleets: tuple[str, ...]) -> None:
        self.entries = [
            {"tier": t, "fleet": f, "region": "here", "host": "127.0.0.1", "port": free_port()}
            for t in TIERS
            for f in fleets
        ]
        self._made = made
        self._running: dict[str, contextlib.AsyncExitStack] = {}

    async def start(self) -> None:
        for entry in self.entries:
            stack = self._running[entry["tier"]] = self._running.get(
                entry["tier"], contextlib.AsyncExitStack()
            )
            model = self._made({**entry, "name": "model"})
            await stack.enter_async_context(httpserver.serving(model.handle, port=entry["port"]))

    async def end(self, tier: str) -> None:
        await self._running.pop(tier).aclose()

    async def close(self) -> None:
        for tier in list(self._running):
            await self.end(tier)


@contextlib.asynccontextmanager
async def assistant(
    made: Made = ModelProgram,
    fleets: tuple[str, ...] = ("gpu",),
    router: Router = InferenceRouter,
) -> AsyncIterator[tuple[Models, InferenceRouter]]:
    models = Models(made, fleets)
    await models.start()
    routed = router(models.entries, SETTINGS)
    loops = [asyncio.create_task(loop) for loop in routed.loops()]
    try:
        await until(lambda: all(route.health.up for route in routed.routes))
        yield models, routed
    finally:
        for loop in loops:
            loop.cancel()
        await models.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


async def ask(router: InferenceRouter, task: str) -> HttpResponse:
    return await router.answer(json.dumps({"task": task}).encode(), {})


def test_each_task_is_answered_by_the_least_tier_that_can_and_says_what_it_cost() -> None:
    async def go() -> None:
        async with assistant() as (_, router):
            for task in TASKS:
                answer = await ask(router, task)
                assert answer.status == 200
                assert answer.headers["x-chenu-model"] == TASKS[task][0]
                assert float(answer.headers["x-chenu-cost"]) == price_usd(TASKS[task][0], "gpu")
                assert int(answer.headers["x-chenu-model-ms"]) >= TASKS[task][1] * 0.85
            assert (await ask(router, "sing")).status == 400
            assert (await router.answer(b"{", {})).status == 400

    asyncio.run(go())


def test_a_tier_that_is_gone_is_stood_in_for_by_the_next_one_up() -> None:
    async def go() -> None:
        async with assistant() as (models, router):
            for gone, then in (("edge", "regional"), ("regional", "core")):
                await models.end(gone)
                await until(
                    lambda gone=gone: not any(r.health.up for r in router.routes if r.tier == gone)
                )
                assert (await ask(router, "classify")).headers["x-chenu-model"] == then
            await models.end("core")
            await until(lambda: not any(route.health.up for route in router.routes))
            assert (await ask(router, "classify")).status == 503

    asyncio.run(go())


def test_a_call_that_dies_under_way_is_an_error_and_is_not_tried_again() -> None:
    async def go() -> None:
        async with assistant() as (models, router):
            under_way = asyncio.create_task(ask(router, "reason"))
            await asyncio.sleep(0.1)
            await models.end("core")
            assert (await under_way).status == 502
            assert (await ask(router, "reason")).headers["x-chenu-model"] == "regional"

    asyncio.run(go())


def test_a_throttled_tier_refuses_unbegun_and_its_calls_go_to_the_next(tmp_path: Path) -> None:
    reserved = tmp_path / "reserved"

    def edge_alone(config: dict[str, Any]) -> ModelProgram:
        where = str(reserved) if config["tier"] == "edge" else None
        return ModelProgram({**config, "reserved": where})

    async def go() -> None:
        async with assistant(made=edge_alone) as (models, router):
            assert (await ask(router, "classify")).headers["x-chenu-model"] == "edge"
            await models.end("edge")
            reserved.write_text("0")
            # A server that is started meanwhile has heard of it, too.
            edge = edge_alone({**models.entries[0], "name": "model"})
            assert edge.most == 0
            refused = await edge.handle(HttpRequest("POST", "/", {}, b'{"task": "classify"}'))
            assert refused.status == 429
            async with httpserver.serving(edge.handle, port=models.entries[0]["port"]):
                await until(lambda: all(route.health.up for route in router.routes))
                assert (await ask(router, "classify")).headers["x-chenu-model"] == "regional"
                reserved.unlink()
                edge.read_reserved()
                assert (await ask(router, "classify")).headers["x-chenu-model"] == "edge"

    asyncio.run(go())


def test_where_every_tier_refuses_the_user_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "reserved").write_text("0")

    async def go() -> None:
        made = lambda config: ModelProgram({**config, "reserved": str(tmp_path / "reserved")})  # noqa: E731
        async with assistant(made=made) as (_, router):
            assert (await ask(router, "classify")).status == 429

    asyncio.run(go())


def test_a_function_works_on_as_many_calls_as_are_reserved_for_it(tmp_path: Path) -> None:
    (tmp_path / "reserved").write_text("2")
    model = ModelProgram(
        {"tier": "edge", "fleet": "gpu", "region": "here", "name": "model",
         "reserved": str(tmp_path / "reserved")}
    )  # fmt: skip
    call = HttpRequest("POST", "/", {}, b'{"task": "classify"}')

    async def go() -> None:
        for _ in range(2):  # what is done makes room
            answers = await asyncio.gather(*(model.handle(call) for _ in range(5)))
            assert Counter(answer.status for answer in answers) == {200: 2, 429: 3}

    asyncio.run(go())


def test_two_fleets_get_every_other_call_of_each_task() -> None:
    async def go() -> None:
        async with assistant(fleets=("gpu", "silicon")) as (_, router):
            tasks = ["classify", "summarise"] * 6
            answers = await asyncio.gather(*(ask(router, task) for task in tasks))
            said = Counter(
                (a.headers["x-chenu-model"], a.headers["x-chenu-fleet"]) for a in answers
            )
            assert set(said.values()) == {3}
            costs = {
                a.headers["x-chenu-fleet"]: float(a.headers["x-chenu-cost"])
                for a in answers
                if a.headers["x-chenu-model"] == "regional"
            }
            assert costs["silicon"] == pytest.approx(costs["gpu"] / 5)

    asyncio.run(go())


def test_defects_do_what_they_say() -> None:
    def service_router(service: type) -> Router:
        return lambda entries, settings: service.inference(  # type: ignore[attr-defined, no-any-return]
            type("Bare", (), {"settings": settings})(), entries
        )

    async def go() -> None:
        async with assistant(router=service_router(tier_misroute.GenerousService)) as (_, router):
            said = [(await ask(router, "classify")).headers["x-chenu-model"] for _ in range(10)]
            assert Counter(said) == {"edge": 8, "core": 2}
        strict = service_router(tier_no_fallback.StrictService)
        async with assistant(router=strict) as (models, router):
            await models.end("edge")
            await until(lambda: not router.routes[0].health.up)
            assert (await ask(router, "classify")).status == 503
        async with assistant(made=cost_creep.CreepingModel) as (_, router):
            bill = [float((await ask(router, "plan")).headers["x-chenu-cost"]) for _ in range(5)]
            assert bill == sorted(bill)
            assert bill[-1] > bill[0] > 0.001

    asyncio.run(go())
    slow = silicon_no_gain.SlowSilicon(
        {"region": "r", "tier": "core", "fleet": "silicon", "name": "n"}
    )
    assert slow.takes_ms("reason") == pytest.approx(0.9 * time_ms("reason", "core", "gpu"))


def test_tiers_are_tried_upwards_first() -> None:
    assert tiers_for("classify") == ("edge", "regional", "core")
    assert tiers_for("plan") == ("regional", "core", "edge")
    assert tiers_for("reason") == ("core", "regional", "edge")


@pytest.fixture(scope="module")
def target() -> Target:
    return load_target(ROOT / "targets" / "lab-inference.yaml")


def test_model_servers_stand_where_the_target_says_and_documents_know_them(target: Target) -> None:
    names = [server.name for server in servers(target)]
    assert len(names) == 4 + 2 + 1
    layout = plan(target)
    assert {part.name for part in layout.parts if part.kind == "model"} == set(names)
    assert sum("/model-" in link.destination for link in layout.links) == 7 * 4
    known = Components(target)
    assert set(names) <= set(known.names)
    picked = known.selected("component", {"kind": "model", "where": {"tier": "regional"}})
    assert picked.names == {"us-east/model-regional-gpu", "eu-central/model-regional-gpu"}
    bare = plan(load_target(ROOT / "targets" / "lab.yaml"))
    assert not [part for part in bare.parts if part.kind == "model"], "what is not asked for is not"


@pytest.mark.parametrize(
    "wrong",
    [
        {"fleets": ["gpu"]},
        {"fleets": ["tpu"], "regional": ["us-east"], "core": ["us-east"]},
        {"fleets": [], "regional": ["us-east"], "core": ["us-east"]},
        {"fleets": ["gpu"], "regional": ["mars"], "core": ["us-east"]},
        [],
    ],
)
def test_what_cannot_be_is_refused(target: Target, wrong: Any) -> None:
    options = (target.provision or {})["lab"] or {}
    asked = replace(target, provision={"lab": {**options, "inference": wrong}})
    with pytest.raises(LabError, match=r"provision\.lab\.inference"):
        plan(asked)
