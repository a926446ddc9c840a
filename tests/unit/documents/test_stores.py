"""What a target says of its stores, and every mistake in it at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from stormgate.documents import DocumentErrors, load_target
from stormgate.model import FinalRead, Target, from_json, to_json

HEAD = """apiVersion: stormgate.dev/v1
kind: Target
metadata: {name: shop}
spec:
  allow: [127.0.0.0/8, db.shop]
  regions: [{name: eu, latitude: 50, longitude: 8}]
  populations:
    - {name: all, share: 1, latitude: 50, longitude: 8, edges: [e], links: {e: "http://127.0.0.1:1"}}
"""
QUERY = "SELECT key, version FROM v WHERE key = ANY(%(keys)s)"


def load(tmp_path: Path, text: str) -> Target:
    path = tmp_path / "target.yaml"
    path.write_text(HEAD + text)
    return load_target(path)


def test_stores_canaries_and_the_final_read_reach_the_plan_and_come_back(tmp_path: Path) -> None:
    target = load(
        tmp_path,
        f"""  canaries: {{eu-personal: canary-eu}}
  finalRead: {{after: 6s, within: 30s, mostKeys: 500, scanEvery: 5s, scanWithin: 2s}}
  stores:
    - {{name: db, reader: postgres, region: eu, address: "db.shop:5432",
        password: "${{PW}}", query: "{QUERY}"}}
    - {{name: cache, reader: redis, address: "${{CACHE}}"}}
    - {{name: door, reader: http, url: "http://127.0.0.1:8/{{key}}", values: [/versions]}}
    - {{name: log, reader: file, path: /var/log/shop.log, control: started}}
    - {{name: queue, reader: command, scan: [sh, scan.sh], holds: [orders/]}}
""",
    )
    assert [store.name for store in target.stores] == ["db", "cache", "door", "log", "queue"]
    assert target.stores[0].database == "postgres"
    assert target.stores[4].holds == ("orders/",)
    assert target.canaries == {"eu-personal": "canary-eu"}
    assert target.final_read == FinalRead(
        after_s=6, within_s=30, most_keys=500, scan_every_s=5, scan_within_s=2
    )
    assert from_json(Target, to_json(target)) == target
    assert load(tmp_path, "").stores == ()


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("name: a, reader: postgres", "without address"),
        ("name: a, reader: mongo, address: 'db.shop:1'", "mongo"),
        ("name: a, reader: redis, address: 'db.shop:1', password: hunter22", "plain text"),
        ("name: a, reader: redis, address: 'db.shop:1', key: 'x'", "{key}"),
        ("name: a, reader: redis, address: 'db.shop:1', query: '%(keys)s'", "takes no query"),
        ("name: a, reader: postgres, address: 'db.shop:1', query: 'SELECT 1'", "asks for no keys"),
        ("name: a, reader: http, url: 'http://db.shop/{key}'", "without values"),
        ("name: a, reader: http, url: 'http://db.shop/{key}', values: [versions]", "JSON pointer"),
        ("name: a, reader: http, url: 'http://else/{key}', values: [/v]", "not in allow"),
        (
            "name: a, reader: http, url: 'http://db.shop/{key}', values: [/v], "
            "headers: {Authorization: Bearer x}",
            "holds a secret",
        ),
        ("name: a, reader: http, url: 'http://u:p@db.shop/{key}', values: [/v]", "credentials"),
        ("name: a, reader: postgres, address: '10.0.0.1:5'", "not in allow"),
        ("name: a, reader: postgres, address: 'db.shop:1', region: mars", "unknown region 'mars'"),
        ("name: a, reader: command, read: [sh, '${PW}']", "shown by ps"),
        ("name: a, reader: command", "without read or scan"),
    ],
)
def test_a_wrong_store_is_refused_where_it_stands(tmp_path: Path, store: str, said: str) -> None:
    with pytest.raises(DocumentErrors) as refused:
        load(tmp_path, f"  stores:\n    - {{{store}}}\n")
    told = str(refused.value)
    assert said in told
    assert "target.yaml:10" in told


def test_two_stores_of_one_name_are_told_apart_by_nobody(tmp_path: Path) -> None:
    with pytest.raises(DocumentErrors, match="listed twice in stores"):
        load(tmp_path, "  stores:\n" + "    - {name: a, reader: file, path: /x}\n" * 2)
