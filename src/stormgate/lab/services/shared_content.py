"""What is the same for every user of a shard: static content, and an answer aggregated over all of
its threads. The origin of what edges keep; how long, it says itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time

from stormgate.lab.design.settings import LabSettings
from stormgate.lab.services import schema
from stormgate.lab.services.database import Node
from stormgate.lab.services.serving import problem, reply
from stormgate.net.httpserver import HttpResponse

RESOURCES = frozenset({"static", "digest"})
_FILES = 64
_BYTES = 2_000


async def answer(
    node: Node, parts: list[str], facts: dict[str, str], settings: LabSettings
) -> HttpResponse:
    """One of them, made anew. Raises OSError, psycopg.Error of the database."""
    match parts:
        case ["static", name] if name.isdecimal() and int(name) < _FILES:
            said = {**facts, "cache-control": f"public, max-age={settings.static_ttl_s:g}"}
            body = hashlib.sha256(name.encode()).hexdigest() * (_BYTES // 64)
            said["etag"] = f'"{hashlib.sha256(body.encode()).hexdigest()[:16]}"'
            return reply(200, {"name": name, "body": body}, {**said, "x-chenu-tier": "origin"})
        case ["digest", sphere] if sphere in schema.SPHERES:
            # Stands for what aggregating over real amounts of data takes.
            await asyncio.sleep(settings.digest_cost_s)
            row = await node.query(
                "SELECT count(*) FROM threads WHERE sphere = %(sphere)s",
                {"sphere": sphere},
                settings.service_timeout_s,
            )
            digest = {"sphere": sphere, "threads": row[0] if row else 0}
            digest["made_ms"] = round(time.time() * 1000)
            max_age = f"public, max-age={settings.digest_ttl_s:g}"
            return reply(200, json.dumps(digest), {**facts, "cache-control": max_age})
    return problem(404, "there is no such thing", facts)
