"""Links of a target: what they become, who goes them, and each way to be wrong with its line."""

import textwrap
from pathlib import Path

import pytest

from stormgate.documents import DocumentErrors, load_target
from stormgate.toxiproxy.wiring import compose_override, environment_lines, wires

TARGET = """\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {name: shop}
spec:
  regions: [{name: eu, latitude: 50, longitude: 8}, {name: us, latitude: 40, longitude: -75}]
  populations:
    - {name: berlin, share: 50%, latitude: 52, longitude: 13, edges: [eu/edge], links: {eu/edge: "http://127.0.0.1:8080/x"}}
    - {name: boston, share: 50%, latitude: 42, longitude: -71, edges: [us/edge], links: {us/edge: "http://127.0.0.1:8081"}}
  components:
    - {name: eu/web, kind: service, region: eu, backend: process, handle: {compose: shop-web}}
    - {name: us/web, kind: service, region: us, backend: process, handle: {systemd: web}}
    - {name: eu/cache, kind: cache, region: eu, backend: process, handle: {docker: cache}, observe: {protocol: redis, address: "127.0.0.1:6379"}}
  links:
"""  # noqa: E501
CACHE = "{from: eu/web, to: eu/cache, upstream: 127.0.0.1:6379}"
EDGE = "{from: berlin, to: eu/edge, upstream: 127.0.0.1:8080}"
FAR = (
    "{from: us/web, to: eu/cache, upstream: 127.0.0.1:6379, listen: 127.0.0.1:7001, traffic: none}"
)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def load(*links: str, more: str = ""):
        text = TARGET + "".join(f"    - {link}\n" for link in links) + more
        Path("shop.yaml").write_text(text)
        return load_target(Path("shop.yaml"))

    return load


def test_a_link_is_a_component_and_a_proxy(load):
    target = load(CACHE)
    link = target.component("link:eu/web->eu/cache")
    assert (link.kind, link.backend) == ("link", "toxiproxy")
    assert link.handle == {"url": "http://127.0.0.1:8474", "proxy": "eu-web-to-eu-cache"}
    assert link.attributes["source"] == "eu/web"
    assert link.attributes["destination"] == "eu/cache"
    assert environment_lines(wires(target)) == ["EU_CACHE=127.0.0.1:21001"]


def test_several_ways_to_one_place_are_told_apart(load):
    target = load(CACHE, FAR, more="  toxiproxy: http://127.0.0.1:9000\n")
    assert environment_lines(wires(target)) == [
        "EU_WEB_TO_EU_CACHE=127.0.0.1:21001",
        "US_WEB_TO_EU_CACHE=127.0.0.1:7001",
    ]
    assert {one.url for one in wires(target)} == {"http://127.0.0.1:9000"}
    assert target.component("link:us/web->eu/cache").traffic == "none"


def test_users_go_by_the_link_that_stands_before_their_edge(load):
    berlin, boston = load(EDGE).populations
    assert berlin.links == {"eu/edge": "http://127.0.0.1:21001/x"}
    assert boston.links == {"us/edge": "http://127.0.0.1:8081"}


def test_a_service_of_compose_is_told_where_it_finds_them(load):
    target = load(CACHE, FAR, EDGE)
    assert compose_override(target, wires(target)) == textwrap.dedent("""\
        services:
          shop-web:
            extra_hosts: ["host.docker.internal:host-gateway"]
            environment:
              EU_WEB_TO_EU_CACHE: "host.docker.internal:21001"
          web:
            extra_hosts: ["host.docker.internal:host-gateway"]
            environment:
              US_WEB_TO_EU_CACHE: "host.docker.internal:7001"
        """)


def test_a_proxy_of_ones_own_is_not_wired(load):
    target = load("{from: eu/web, to: eu/cache, proxy: cache}")
    assert target.component("link:eu/web->eu/cache").handle["proxy"] == "cache"
    assert wires(target) == []


def test_a_region_may_be_made_of_its_links_too(load):
    group = (
        '    - {name: eu, kind: region, backend: group, parts: [eu/web, "link:eu/web->eu/cache"]}\n'
    )
    text = TARGET.replace("  links:\n", group + "  links:\n")
    Path("group.yaml").write_text(text + f"    - {CACHE}\n")
    assert load_target(Path("group.yaml")).component("eu").parts[1] == "link:eu/web->eu/cache"


@pytest.mark.parametrize(
    ("link", "says"),
    [
        (CACHE.replace("eu/web", "eu/wbe"), "a link from unknown 'eu/wbe'; did you mean 'eu/web'?"),
        (CACHE.replace("eu/cache", "eu/cash"), "a link to unknown 'eu/cash'; did you mean"),
        (CACHE.replace(", upstream: 127.0.0.1:6379", ""), "leads nowhere; add upstream"),
        (CACHE.replace("6379", "99999"), "has no port that exists"),
        (CACHE.replace("127.0.0.1:6379", "cache"), "does not fit"),
        (CACHE.replace("127.0.0.1:", "10.0.0.1:"), "host '10.0.0.1' is not in allow"),
        (CACHE.replace("}", ", listen: 0.0.0.0:21001}"), "host '0.0.0.0' is not in allow"),
        (CACHE.replace("}", ", proxy: a/b}"), "does not fit"),
        ("{from: eu/web, to: eu/cache, proxy: c, listen: 127.0.0.1:1}", "listens for nothing"),
        (EDGE.replace("8080", "8088"), "go to http://127.0.0.1:8080/x, not through link:berlin"),
        (EDGE.replace("berlin", "boston"), "a link to unknown 'eu/edge'; did you mean 'us/edge'?"),
    ],
)
def test_each_mistake_is_named_with_its_line(load, link, says):
    with pytest.raises(DocumentErrors) as caught:
        load(link)
    found = [str(one) for one in caught.value.problems]
    assert any(says in one and one.startswith("shop.yaml:14:") for one in found), found


@pytest.mark.parametrize(
    ("links", "says"),
    [
        ((CACHE, CACHE), "two links have the link 'link:eu/web->eu/cache'"),
        ((CACHE, FAR.replace("7001", "21001")), "two links have the address '127.0.0.1:21001'"),
        (
            (CACHE.replace("}", ", env: A}"), FAR.replace("}", ", env: A}")),
            "two links have the variable 'A'",
        ),
    ],
)
def test_two_links_have_nothing_in_common(load, links, says):
    with pytest.raises(DocumentErrors, match=says):
        load(*links)
