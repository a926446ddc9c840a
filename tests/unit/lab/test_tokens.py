"""Tokens that an edge takes, and all those that it does not."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from stormgate.lab.defects.edges.forged_jwt_accepted import CredulousTokens
from stormgate.lab.runtime.boot import _key_pair
from stormgate.lab.services.tokens import TokenWorks, one_time_code

NOW_S = time.time()
ROOT = Path(__file__).parents[3]
# The users' own forgers, in a process of its own: importing Locust patches the interpreter.
CODE = """
import json, runpy, sys
users = runpy.run_path("loadtests/chenu_edge.py")
asked = json.load(sys.stdin)
told = [
    {"changed": users["changed"](token), "unsigned": users["unsigned"](token),
     "key confusion": users["confused"](token, asked["key"])}
    for token in asked["tokens"]
]
print(json.dumps({"told": told, "codes": [users["code_of"](*one) for one in asked["codes"]]}))
"""


def forged(**asked: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        input=json.dumps({"tokens": [], "codes": [], "key": "", **asked}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def works() -> TokenWorks:
    return TokenWorks("a secret of thirty-two characters", _key_pair())


@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
def test_a_good_token_says_who_and_until_when(works: TokenWorks, algorithm: str) -> None:
    token = works.issue("eu-7", "eu", NOW_S, algorithm=algorithm, second_factor=True)
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    found = works.check(token)
    assert found == ("eu-7", "eu", int(NOW_S + 3600), True)
    plain = works.check(works.issue("eu-7", "eu", NOW_S, algorithm=algorithm))
    assert plain is not None
    assert not plain.second_factor


def test_every_token_that_must_not_be_taken(works: TokenWorks) -> None:
    algorithms = ("HS256", "RS256")
    goods = [works.issue("eu-7", "eu", NOW_S, algorithm=one) for one in algorithms]
    told = forged(tokens=goods, key=works.public_key)["told"]
    credulous = CredulousTokens(works.secret, works.private_key)
    for algorithm, good, users in zip(algorithms, goods, told, strict=True):
        bad = {
            **users,
            "expired": works.issue("eu-7", "eu", NOW_S - 10, algorithm=algorithm, lifetime_s=1),
            "audience": works.issue("eu-7", "eu", NOW_S, algorithm=algorithm, audience="else"),
            "another secret": TokenWorks("another secret of thirty-two bytes").issue(
                "eu-7", "eu", NOW_S
            ),
            "cut": good[:-10],
            "nothing": "",
            "no token": "a.b.c",
        }
        assert works.check(good) is not None
        assert {why: works.check(token) for why, token in bad.items()} == dict.fromkeys(bad)
        # The same tokens, shown to whoever does not look.
        taken = {why for why, token in bad.items() if credulous.check(token) is not None}
        assert {"changed", "unsigned", "key confusion", "expired", "audience"} <= taken


def test_without_a_key_pair_only_the_secret_signs(works: TokenWorks) -> None:
    alone = TokenWorks(works.secret)
    assert alone.algorithms == ("HS256",)
    assert alone.check(works.issue("eu-7", "eu", NOW_S, algorithm="RS256")) is None


def test_one_time_codes_of_the_rfc() -> None:
    """RFC 6238, appendix B: SHA-1, the last six of its eight digits."""
    seed = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    codes = {
        59: "287082",
        1_111_111_109: "081804",
        1_234_567_890: "005924",
        20_000_000_000: "353130",
    }
    assert [one_time_code(seed, at_s) for at_s in codes] == list(codes.values())
    assert forged(codes=[[seed, at_s] for at_s in codes])["codes"] == list(codes.values())


def test_a_code_is_the_users_own_and_of_about_now(works: TokenWorks) -> None:
    code = one_time_code(works.seed("eu-7"), NOW_S)
    assert works.is_code("eu-7", code, NOW_S)
    assert works.is_code("eu-7", code, NOW_S + 30)
    assert not works.is_code("eu-7", code, NOW_S + 120)
    assert not works.is_code("eu-8", code, NOW_S)
    assert not works.is_code("eu-7", None, NOW_S)
