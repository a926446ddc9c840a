"""A gate and everything it refers to: the plan it becomes, and each way to be wrong with its line
and its fix.
"""

# ruff: noqa: E501 - a table of mistakes reads row by row

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

import pytest

from stormgate.commands.documents import lay_out
from stormgate.documents import DocumentErrors, load_gate, suite_root
from stormgate.model import Guard, Plan, from_json, to_json

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh set of content folders, with the working directory in it."""
    lay_out(tmp_path, "shop")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(suite: Path, file: str, old: str, new: str) -> int:
    """Replace the one place where `old` stands; the line it stands on."""
    path = suite / file
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
    path.write_text(text.replace(old, new))
    return text[: text.index(old)].count("\n") + 1


def errors(
    suite: Path, file: str = "slas/release.yaml", *, allow_production: bool = False
) -> list[str]:
    with pytest.raises(DocumentErrors) as caught:
        load_gate(suite / file, allow_production=allow_production)
    return [str(problem) for problem in caught.value.problems]


def test_the_starter_set_becomes_a_plan(suite: Path) -> None:
    plan = load_gate(suite / "slas" / "release.yaml")
    assert (plan.gate, plan.seed, plan.confidence) == ("shop-release", 1, 0.95)
    assert (plan.warmup_s, plan.steady_s, plan.final_s) == (5, 45, 15)
    assert plan.source == "slas/release.yaml"
    assert plan.load.locustfile == "loadtests/users.py"
    assert [(f.name, f.experiment, f.recovery_s) for f in plan.faults] == [
        ("web-loss", "experiments/web-loss.yaml", 10)
    ]
    assert plan.guard == Guard(error_rate=0.6, error_rate_for_s=20, max_fault_s=60)
    availability, latency, failover = plan.objectives
    assert (availability.spec["target"], availability.spec["within_ms"]) == (0.999, 2000)
    assert (latency.spec["quantile"], latency.spec["lte_ms"]) == (0.95, 200)
    assert (failover.spec["lte_s"], failover.spec["by"]) == (5, ["population", "op"])
    lines = (suite / "slas" / "release.yaml").read_text().splitlines()
    assert all(
        o.name in lines[int(o.source.removeprefix("slas/release.yaml:")) - 1]
        for o in plan.objectives
    )


def test_the_plan_survives_its_json_and_is_sealed(suite: Path) -> None:
    plan = load_gate(suite / "slas" / "release.yaml")
    assert from_json(Plan, to_json(plan)) == plan
    assert plan.digest == plan.sealed().digest != ""


def test_the_plan_is_the_same_from_anywhere(
    suite: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = load_gate(suite / "slas" / "release.yaml")
    other = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(suite, other, dirs_exist_ok=True)
    assert load_gate(other / "slas" / "release.yaml").digest == first.digest
    assert suite_root(other / "slas" / "release.yaml") == other


GATE, TARGET, TRIAL = "slas/release.yaml", "targets/shop.yaml", "experiments/web-loss.yaml"
KILL = 'func: kill, arguments: {component: "${component}"}'
LINK = """      observe: {protocol: http, address: "127.0.0.1:8080", path: /healthz}
"""
WITH_LINK = (
    LINK
    + """    - name: link
      kind: link
      backend: toxiproxy
      handle: {url: "http://127.0.0.1:8474", proxy: web}
      attributes: {source: population/everyone, destination: web}
"""
)


def asked(call: str) -> str:
    return call.replace("(", ", arguments: {").replace(")", "}")


HANDLE = """      backend: process
      handle:
        pidFile: /run/shop/web.pid.json # {"pid": 123, "start_ticks": 456}: field 22 of /proc/123/stat tells a reused pid apart
        start: [systemctl, start, shop-web]
"""
TOXI = """      backend: toxiproxy
      handle: {{url: "{}", proxy: web}}
"""
COMMAND = """      backend: command
      handle: {apply: {crash: [a]}, undo: {}, observe: [o]}
"""
SHOWN = """      backend: command
      handle: {apply: {crash: [a, "-p${PASSWORD}"]}, undo: {crash: [u]}, observe: [o]}
"""
WRONG = [
    (GATE, "ratePerS: 100", "ratePerSec: 100", "unknown key 'ratePerSec' in spec.load; did you "
                                               "mean 'ratePerS'?"),
    (GATE, "ratePerS: 100", "ratePerS: 0", "spec.load.ratePerS: 0 does not fit; input should "
                                           "be greater than 0"),
    (GATE, "ratePerS: 100", 'ratePerS: "100"', "spec.load.ratePerS: '100' does not fit; input "
                                               "should be a valid number"),
    (GATE, "warmup: 5s", "warmup: 5", "spec.phases.warmup: 5 is not a duration; write a number "
                                      "with its unit"),
    (GATE, "steady: 45s", "steady: -45s", "spec.phases.steady: '-45s' is a negative duration"),
    (GATE, "recovery: 10s", "recovery: 0s", "spec.faults[0].recovery: '0s' is no time at all"),
    (GATE, "kind: failover", "kind: failovr", "unknown kind 'failovr'; did you mean 'failover'?"),
    (GATE, "quantile: 95%", "quantile: 100%", "quantile: 1.0 does not fit; input should be "
                                              "less than 1"),
    (GATE, "quantile: 95%", "quantil: 95%", "unknown key 'quantil' in objective 'p95'; did you "
                                            "mean 'quantile'?"),
    (GATE, "lte: 200ms", "lteMs: 200", "unknown key 'lteMs' in objective 'p95'; did you mean "
                                       "'lte'?"),
    (GATE, "lte: 200ms", "lte: 200", "lte: 200 is not a duration"),
    (GATE, "by: [population, op]", "by: [popultion, op]", "samples have no column 'popultion'; "
                                                          "did you mean 'population'?"),
    (GATE, "within: 2s\n      by", "where: {population: everybody}\n      by", "no population "
                                                                               "is called 'everybody'; did you mean"),
    (GATE, "within: 2s\n      by", "where: {op: delete}\n      by", "no op is called 'delete'; "
                                                                    "op is one of: read, write"),
    (GATE, "within: 2s\n      by", "fault: web-los\n      by", "unknown fault 'web-los'; did "
                                                               "you mean 'web-loss'?"),
    (GATE, "lte: 200ms\n      phases: [steady, final]", "lte: 200ms\n      phases: [stedy]", "unknown phase 'stedy'; did you mean 'steady'?"),
    (GATE, "lte: 200ms\n      phases: [steady, final]", "lte: 200ms\n      phases: [warmup]", "warmup is never judged"),
    (GATE, "lte: 200ms\n      phases: [steady, final]", 'lte: 200ms\n      phases: '
                                                        '["fault[x]"]', "unknown phase 'fault[x]'"),
    (GATE, "slo: shop-availability", "slo: shop-availabilty", "unknown SLO 'shop-availabilty'; "
                                                              "did you mean 'shop-availability'?"),
    (GATE, "slo: shop-availability", "slo: shop-availability\n      target: 90%", "'target' is "
                                                                                  "already said by SLO 'shop-availability'"),
    (GATE, "sloRefs: [shop-availability]", "sloRefs: []", "SLO 'shop-availability' is not in "
                                                          "sloRefs; add 'shop-availability'"),
    (GATE, "target: 0.999 #", "target: 1.0 #", "1.0 is not a target of OpenSLO; write a number "
                                               "from 0 up to, but not, 1"),
    (GATE, "name: shop-good", "name: Shop_good", "spec.indicator.metadata.name: 'Shop_good' is "
                                                 "not a name of OpenSLO; write a DNS label"),
    (GATE, "            spec: {where: {}} # all of them\n", "", "'spec' is missing in "
                                         "spec.indicator.spec.ratioMetric.total.metricSource"),
    (GATE, "duration: 30d", "duration: 30s", "spec.timeWindow[0].duration: '30s' does not fit"),
    (GATE, "type: stormgate\n            spec: {outcome", "type: prometheus\n            spec: "
                                                          "{outcome", "SLO 'shop-availability' asks prometheus"),
    (GATE, "budgetingMethod: Occurrences", "budgetingMethod: Timeslices", "counts slices of "
                                                                          "time (Timeslices); a "
                                                                          "gate counts requests"),
    (GATE, "confidence: 95%", "confidence: 30%", "spec.confidence: 0.3 is not a confidence; "
                                                 "write a share between 50% and 100%"),
    (GATE, "../targets/shop.yaml", "../targets/shp.yaml", "there is no file "
                                                          "'../targets/shp.yaml'; did you mean "
                                                          "'../targets/shop.yaml'?"),
    (GATE, "../loadtests/users.py", "../loadtests/user.py", "there is no file "
                                                            "'../loadtests/user.py'; did you mean"),
    (GATE, "recovery: 10s", "recovery: 10s\n      configuration: {compnent: web}", "has no 'compnent'; did you mean 'component'?"),
    (GATE, "recovery: 10s", "recovery: 10s\n      configuration: {component: wb}", "kill: the target has no component 'wb'; did you"),
    (GATE, "gt: 60%", "gt: 0%", "spec.abort.errorRate.gt: a limit of nothing; write a share "
                                "above 0%"),
    (GATE, "  abort:", "  waivers: [{objective: p99, owner: me, reason: because I say so, "
                       "expires: 2030-01-31}]\n  abort:", "unknown objective 'p99'"),
    (GATE, "  abort:", "  waivers: [{objective: p95, owner: me, reason: because I say so, "
                       "expires: 2030-02-31}]\n  abort:", "is not a date"),
    (GATE, "  abort:", "  stop: early\n  abort:", "spec.stop: 'early' is unknown; allowed "
                                                  "here: planned, certain"),
    (TARGET, "share: 100%", "share: 90%", "the shares of the populations sum to 0.9; make them "
                                          "sum to 1 (100%)"),
    (TARGET, "latitude: 52.37\n      longitude", "latitude: 152.37\n      longitude", "152.37 does not fit; input should be less than or equal to 90"),
    (TARGET, "http://127.0.0.1:8080", "http://10.0.0.1:8080", "host '10.0.0.1' is not in "
                                                              "allow; allow now: 127.0.0.0/8"),
    (TARGET, "http://127.0.0.1:8080", "http://me:pw@127.0.0.1:8080", "a URL carries "
                                                                     "credentials; put them "
                                                                     "into a header as ${ENV}"),
    (TARGET, "edges: [home]", "edges: [home, away]", "population 'everyone' has no link to "
                                                     "edge 'away'"),
    (TARGET, "environment: test", "environment: tset", "spec.environment: 'tset' is unknown; "
                                                       "did you mean 'test'?"),
    (TARGET, "allow: [127.0.0.0/8]", "allow: [127.0.0.0/33]", "'127.0.0.0/33' is neither a "
                                                              "network nor a host name"),
    (TARGET, "backend: process", "backend: command", "spec.components[0].handle: 'apply' is "
                                                     "missing; add 'apply'"),
    (TARGET, "backend: process", "backend: openstack", "spec.components[0].backend: no backend "
                                                        "is called 'openstack'; there are: "
                                                        "aws, command, group, "),
    (TARGET, "backend: process", "backend: gcp", "no backend is called 'gcp'"),
    (TARGET, "backend: process", "backend: load", "no backend is called 'load'"),
    (TARGET, "backend: process", "backend: ../process", "no backend is called '../process'"),
    (TARGET, "pidFile: /run", "pidfile: /run", "unknown key 'pidfile'; did you mean 'pidFile'?"),
    (TARGET, "[systemctl, start, shop-web]", "[]", "handle.start: start: [] does not fit"),
    (TARGET, "[systemctl, start, shop-web]", "[systemctl, 3]", "handle.start[1]: start[1]: 3 does"),
    (TARGET, "backend: process", "backend: process\n      parts: [web]", "parts belong to backend "
                                                                         "group"),
    (TARGET, HANDLE, TOXI.format("http://10.0.0.1:8474"), "host '10.0.0.1' is not in allow"),
    (TARGET, HANDLE, TOXI.format("http://me:pw@127.0.0.1:8474"), "a URL carries credentials"),
    (TARGET, HANDLE, TOXI.format("http://127.0.0.1:99999"), "is not the address of a Toxiproxy"),
    (TARGET, HANDLE, COMMAND, "apply has 'crash' and undo has not: it would stay broken"),
    (TARGET, HANDLE, SHOWN, "apply has ${PASSWORD} among its words, where `ps` shows it to"),
    (TARGET, "region: home\n", "region: hme\n", "component 'web' stands in unknown region "
                                                "'hme'; did you mean 'home'?"),
    (TARGET, "protocol: http", "protocol: htp", "'htp' is unknown; did you mean 'http'?"),
    (TRIAL, "func: kill,", "func: kil,", "module stormgate.chaos.actions has no function "
                                         "'kil'; did you mean 'kill'?"),
    (TRIAL, 'component: "${component}"', 'componnt: "${component}"', "kill takes no argument "
                                                                     "'componnt'; did you mean "
                                                                     "'component'?"),
    (TRIAL, '"${component}"', '"${compnent}"', "${compnent} is not in the experiment's "
                                               "configuration; did you mean 'component'?"),
    (TRIAL, "component: web", "component: wbe", "kill: the target has no component 'wbe'; did "
                                                "you mean 'web'?"),
    (TRIAL, "stormgate.chaos.probes", "stormgate.chaos.probs", "there is no module "
                                                               "'stormgate.chaos.probs'"),
    (TRIAL, "      tolerance: true\n", "", "a hypothesis probe without tolerance decides nothing"),
    (TRIAL, "rollbacks:\n  - type", "rollback:\n  - type", "unknown key 'rollback' in the "
                                                           "experiment; did you mean 'rollbacks'?"),
    (TRIAL, "title: Users are served", "titel: Users are served", "unknown key 'titel' in the "
                                                                  "experiment; did you mean "
                                                                  "'title'?"),
    (TRIAL, KILL, asked("func: kill(component: [])"), "kill: [] selects nothing; name what"),
    (TRIAL, KILL, asked("func: kill(component: {})"), "kill: a selection has"),
    (TRIAL, KILL, asked("func: break_component(component: web, mode: bogus)"), "break_component: unknown mode 'bogus'; one of"),
    (TRIAL, KILL, asked("func: break_component(component: web, mode: crash, hard: 1)"), "no parameter 'hard' (it takes nothing)"),
    (TRIAL, KILL, asked("func: slow(component: web, latency_ms: 5)"), "web: nothing to break by slow"),
    (TRIAL, KILL, asked("func: kill(component: web, proof_s: -1)"), "kill: proof_s -1; write a number of seconds from 0.01 to 3600"),
    (TRIAL, KILL, asked("func: kill(component: web, proof_s: .nan)"), "kill: proof_s nan; write"),
    (TRIAL, KILL, asked("func: partition(shape: square)"), "unknown partition shape 'square'"),
    (TRIAL, KILL, asked("func: partition(sets: [[home], [home]])"), "parts nothing; write two or"),
    (TRIAL, KILL, asked("func: partition(mode: blackhole)"), "a partition needs either sets or a"),
    (TRIAL, KILL, asked("func: load_surge(factor: 0.5)"), "factor must be greater than 1, not 0.5"),
    (TRIAL, KILL, asked("func: load_surge(factor: 3, population: nobody)"), "unknown population"),
    (TRIAL, KILL, asked("func: rolling_restart(component: web, grace_s: -1)"), "grace_s must be"),
    (TRIAL, "strategy: always", "strategy: deviated", "rollbacks strategy 'deviated' is not what a gate does; write always or default"),
    (TRIAL, "strategy: always}", "strategy: always}\n  hypothesis: {strategy: skip}", "hypothesis strategy 'skip' is"),
    (GATE, "# May this release", "%YAML 1.1\n---\n# May this release", "another version of YAML; remove the %YAML line"),
    (TRIAL, "hold_s: 10", "hold_s: abc", "hold for 'abc'; write a number of seconds from 0 to"),
    (TRIAL, "hold_s: 10", "hold_s: -1", "hold for -1; write a number of seconds from 0 to 86400"),
    (TRIAL, "hold_s: 10", "hold_s: 1e9", "hold for 1000000000.0; write a number of seconds"),
    (TRIAL, "hold_s: 10", "hold_s: 61", "fault 'web-loss' is held for 61 s; abort.maxFaultDuration ends it after 60 s"),
    (GATE, "recovery: 10s", "recovery: 10s\n      configuration: {hold_s: -1}", "hold for -1; write"),
    (TRIAL, "func: undo}", "func: hold, arguments: {seconds: 1}}", "the rollbacks undo nothing of what the method breaks"),
    (TRIAL, "title: Users are served", "---\ntitle: another\n---\ntitle: Users are served", "a second document in an experiment's file"),
    (TARGET, "http://127.0.0.1:8080", "http://127.0.0.1:99999", "'http://127.0.0.1:99999' is not an address; ports are 1 to 65535"),
    (TARGET, "http://127.0.0.1:8080", "http://127.0.0.1:0", "'http://127.0.0.1:0' is not an"),
    (TARGET, 'http://127.0.0.1:8080"', 'http://127.0.0.1:8080/a\\r\\nX: 1"', "is not an address"),
    (TARGET, 'address: "127.0.0.1:8080"', 'address: "127.0.0.1:99999"', "has no port that exists"),
    (TARGET, 'address: "127.0.0.1:8080"', 'address: "10.0.0.2:8080"', "is observed at '10.0.0.2', which is not in allow"),
    (TARGET, "path: /healthz", 'path: "/h\\r\\nX: 1"', "observe.path"),
    (TARGET, "edges: [home]", 'edges: [home]\n      headers: {X-A: "a\\r\\nX-B: b"}', "cannot be sent as a header; a header is one line"),
    (TARGET, "edges: [home]", 'edges: [home]\n      headers: {"X A": b}', "is not the name of a header"),
    ("loadtests/users.py", "from stormgate.load", "form stormgate.load", "not Python: invalid syntax; mend the file"),
]  # fmt: skip
MODES = [
    ("slow(component: link, latency_ms: -5)", "latency_ms must be greater than or equal to 1, not -5; slow takes latency_ms, jitter_ms"),
    ("slow(component: web, latency_ms: -5)", "latency_ms must be greater"),
    ("slow(component: link, latency_ms: 10, jitter_ms: 10)", "leaves nothing of latency_ms 10"),
    ("slow(component: link, latency_ms: '${component}')", "latency_ms must be a valid integer"),
    ("lossy(component: link, share: 2.0)", "share must be less than or equal to 1, not 2.0"),
    ("lossy(component: link, share: 50%)", "share must be a valid number, not '50%'"),
    ("bandwidth(component: link, rate_kb_per_s: 0)", "rate_kb_per_s must be greater"),
    ("break_component(component: link, mode: slow)", "it needs 'latency_ms'"),
    ("freeze(component: link)", "link: a link cannot freeze; one of bandwidth, blackhole, crash"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "expected"), MODES, ids=[call for call, _ in MODES])
def test_modes_and_parameters_are_held_to_the_backend_before_anything_runs(
    suite: Path, call: str, expected: str
) -> None:
    change(suite, TARGET, LINK, WITH_LINK)
    line = change(suite, TRIAL, KILL, asked(f"func: {call}"))
    found = errors(suite)
    assert [error.startswith(f"{TRIAL}:") for error in found] == [True], found
    assert expected in found[0]
    where = 7 if "${component}" in call else line
    assert abs(int(found[0].split(":")[1]) - where) <= 1


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"), WRONG, ids=[f"{n}-{w[2][:30]}" for n, w in enumerate(WRONG)]
)
def test_each_mistake_is_named_with_its_line(
    suite: Path, file: str, old: str, new: str, expected: str
) -> None:
    line = change(suite, file, old, new)
    found = errors(suite)
    hits = [error for error in found if expected in error]
    assert hits, f"{expected!r} is not among:\n" + "\n".join(found)
    match = re.match(r"([^:]+):(\d+): ", hits[0])
    assert match is not None
    assert match[1] in {file, GATE if file == TRIAL else file}
    # What is missing, or does not add up, is pointed at by the line around it.
    assert abs(int(match[2]) - line) <= 16, hits[0]


def test_an_objective_over_readings_that_nothing_writes_is_for_finished_runs_alone(
    suite: Path,
) -> None:
    reading = "    - {name: lag, kind: reading, probe: replica-lag, lte: 1}\n"
    line = change(suite, GATE, "    - name: p95\n", reading + "    - name: p95\n")
    (found,) = errors(suite)
    assert found.startswith(f"{GATE}:{line}: nothing in this gate writes readings of 'replica-lag'")
    plan = load_gate(suite / GATE, finished=True)
    assert [o.kind for o in plan.objectives].count("reading") == 1


READINGS = """  readings:
    - {name: replica-lag, module: probes.lag, func: lag_s, arguments: {node: db}, every: 500ms}
"""


def with_readings(suite: Path, written: str) -> int:
    probe = suite / "probes" / "lag.py"
    probe.parent.mkdir(exist_ok=True)
    probe.write_text("def lag_s(node, deadline_s=1.0):\n    return 0.1\n")
    reading = "    - {name: lag, kind: reading, probe: replica-lag, lte: 1}\n"
    change(suite, GATE, "    - name: p95\n", reading + "    - name: p95\n")
    return change(suite, GATE, "  abort:\n", written + "  abort:\n")


def test_readings_are_planned_with_their_schedule(suite: Path) -> None:
    with_readings(suite, READINGS)
    (one,) = load_gate(suite / GATE).readings
    assert (one.name, one.module, one.func) == ("replica-lag", "probes.lag", "lag_s")
    assert (one.every_s, one.within_s, one.arguments) == (0.5, 1.0, {"node": "db"})


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("replica-lag,", "replica-lga,", "did you mean 'replica-lga'"),
        ("lag_s,", "lag_ms,", "module probes.lag has no function 'lag_ms'"),
        ("probes.lag,", "probes.leg,", "there is no module 'probes.leg'"),
        ("{node: db}", "{nod: db}", "lag_s takes no argument 'nod'"),
        ("{node: db}", "{}", "lag_s needs argument 'node'"),
        ("500ms", "50ms", "a reading each 0.05 s"),
        ("probes.lag, func: lag_s", "stormgate.chaos.actions, func: undo", "an action is no probe"),
    ],
)
def test_a_reading_that_could_not_be_read_is_refused(
    suite: Path, old: str, new: str, says: str
) -> None:
    line = with_readings(suite, READINGS.replace(old, new))
    found = errors(suite)
    assert any(says in error for error in found), found
    assert abs(int(found[0].split(":")[1]) - line) <= 16  # the reading, or who asks for it


@pytest.mark.parametrize(
    ("listen", "says"),
    [
        ("127.0.0.1:19093", ""),
        ("192.0.2.1:19093", "192.0.2.1 is not in the target's allow list"),
        ("localhost:19093", "is no address to listen at"),
        ("127.0.0.1", "is no address to listen at"),
        ("127.0.0.1:99999", "is no address to listen at"),
    ],
)
def test_the_harness_listens_where_the_target_may_reach_it(
    suite: Path, listen: str, says: str
) -> None:
    change(suite, GATE, "  abort:\n", f"  receive: {{listen: '{listen}'}}\n  abort:\n")
    if not says:
        assert load_gate(suite / GATE).receive == listen
        return
    assert any(says in error for error in errors(suite))


def test_every_mistake_at_once_in_every_file(suite: Path) -> None:
    change(suite, GATE, "ratePerS: 100", "ratePerSec: 100")
    change(suite, GATE, "kind: failover", "kind: failovr")
    change(suite, GATE, "target: 0.999 #", "target: 1.5 #")
    change(suite, TARGET, "share: 100%", "share: 90%")
    change(suite, TRIAL, "func: kill,", "func: kil,")
    found = "\n".join(errors(suite))
    for expected in (
        "did you mean 'ratePerS'",
        "'failovr'",
        "1.5 is not a target",
        "sum to 0.9",
        "'kil'",
    ):
        assert expected in found
    assert len(found.splitlines()) == 5


def test_one_mistake_is_one_message(suite: Path) -> None:
    change(suite, GATE, "apiVersion: openslo/v1", "apiVersion: openslo/v2")
    assert errors(suite) == [
        "slas/release.yaml:4: apiVersion 'openslo/v2' for kind SLO; write apiVersion: openslo/v1"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty"),
        ("[1, 2]\n", "not a document; write apiVersion, kind, metadata and spec"),
        (
            "kind: ReleaseGat\napiVersion: stormgate.dev/v1\n",
            "unknown kind 'ReleaseGat'; did you mean 'ReleaseGate'?",
        ),
        ("apiVersion: stormgate.dev/v1\nkind: ReleaseGate\n", "'spec' is missing; add 'spec'"),
        (
            "apiVersion: stormgate.dev/v1\nkind: Target\n",
            "no ReleaseGate in this file, only Target",
        ),
        (
            "apiVersion: stormgate.dev/v1\nkind: ReleaseGate\nmetadata: {name: Has "
            "Spaces}\nspec: 5\n",
            "'Has Spaces' is not a name",
        ),
    ],
)
def test_not_a_gate(suite: Path, text: str, expected: str) -> None:
    (suite / GATE).write_text(text)
    assert any(expected in error for error in errors(suite))


def test_an_slo_on_trial_that_nothing_judges(suite: Path) -> None:
    change(suite, GATE, "      slo: shop-availability\n", "      target: 99%\n")
    assert any(
        "SLO 'shop-availability' is on trial, but no objective judges it" in error
        for error in errors(suite)
    )


def test_slos_may_live_in_other_files_and_share_an_indicator(suite: Path) -> None:
    text = (suite / GATE).read_text()
    slo, _, gate = text.partition("---\n")
    indicator = textwrap.dedent(
        slo[slo.index("    spec:\n      ratioMetric") : slo.index("  timeWindow")]
    )
    sli = "apiVersion: openslo/v1\nkind: SLI\nmetadata: {name: good}\n" + indicator
    referring = (
        slo[slo.index("apiVersion") : slo.index("  indicator:")]
        + "  indicatorRef: good\n"
        + slo[slo.index("  timeWindow") :]
    )
    service = (
        "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: shop}\nspec: "
        "{description: the shop}\n"
    )
    (suite / "slas" / "shared.yaml").write_text("---\n".join([sli, referring, service]))
    (suite / GATE).write_text(gate.replace("  sloRefs:", "  sloFiles: [shared.yaml]\n  sloRefs:"))
    plan = load_gate(suite / GATE)
    assert plan.objectives[0].spec["within_ms"] == 2000
    line = change(suite, "slas/shared.yaml", "indicatorRef: good", "indicatorRef: god")
    assert errors(suite) == [
        f"slas/shared.yaml:{line}: unknown SLI 'god'; SLIs in the files read: good"
    ]


PROMETHEUS = """---
apiVersion: openslo/v1
kind: SLO
metadata: {name: theirs}
spec:
  service: theirs
  indicatorRef: their-indicator
  budgetingMethod: Timeslices
  objectives: [{target: 0.9, timeSliceTarget: 0.9, op: lt, value: 1}, {target: 0.99}]
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: their-indicator}
spec:
  thresholdMetric: {metricSource: {type: Prometheus, spec: {query: up}}}
---
"""


def test_slos_of_others_beside_ours_are_left_alone(suite: Path) -> None:
    text = (suite / GATE).read_text()
    (suite / GATE).write_text(PROMETHEUS + text)
    assert load_gate(suite / GATE).gate == "shop-release"
    change(suite, GATE, "sloRefs: [shop-availability]", "sloRefs: [shop-availability, theirs]")
    assert any(
        "'theirs' counts slices of time (Timeslices); a gate counts" in e for e in errors(suite)
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        counter: true\n", ""),
        ("target: 0.999 #", "targetPercent: 99.9 #"),
        ("  timeWindow:\n    - duration: 30d\n      isRolling: true\n", ""),
        ("  budgetingMethod", "  alertPolicies: [{alertPolicyRef: page}]\n  budgetingMethod"),
        ("  budgetingMethod", "  alertPolicies: null\n  budgetingMethod"),
    ],
)
def test_what_openslo_allows_is_read_the_same(suite: Path, old: str, new: str) -> None:
    before = load_gate(suite / GATE).objectives[0].spec
    change(suite, GATE, old, new)
    assert load_gate(suite / GATE).objectives[0].spec == before


def test_alert_policies_are_references_and_one_target_is_promised(suite: Path) -> None:
    change(suite, GATE, "  budgetingMethod", "  alertPolicies: [page]\n  budgetingMethod")
    change(suite, GATE, "target: 0.999 #", "target: 0.999\n      targetPercent: 99.9 #")
    found = "\n".join(errors(suite))
    assert "spec.alertPolicies[0]" in found
    assert "either target or targetPercent" in found


def test_waivers_from_a_file(suite: Path) -> None:
    change(suite, GATE, "  abort:", "  waivers: waivers.yaml\n  abort:")
    (suite / "slas" / "waivers.yaml").write_text(
        "apiVersion: stormgate.dev/v1\nkind: Waivers\nmetadata: {name: w}\nspec:\n  waivers:\n"
        "    - {objective: p95, owner: ops, reason: new cache lands next week, expires: "
        "2030-01-31}\n"
    )
    assert [(w.objective, w.expires) for w in load_gate(suite / GATE).waivers] == [
        ("p95", "2030-01-31")
    ]
    change(suite, "slas/waivers.yaml", "objective: p95", "objective: p96")
    assert errors(suite) == [
        "slas/waivers.yaml:6: a waiver for unknown objective 'p96'; did you mean 'p95'?"
    ]


def test_production_needs_word_abort_rule_and_blast_radius(suite: Path) -> None:
    change(suite, TARGET, "environment: test", "environment: production")
    change(suite, GATE, "    errorRate: {gt: 60%, for: 20s}\n", "")
    found = "\n".join(errors(suite))
    for expected in (
        "the target is production; say --allow-production",
        "without an abort rule",
        "without a blast radius",
    ):
        assert expected in found
    change(
        suite,
        GATE,
        "  abort:\n",
        "  blastRadius: {maxRegions: 1, maxUsers: 100%}\n  abort:\n    errorRate: {gt: 5%, "
        "for: 5s}\n",
    )
    assert [e.partition(": ")[2] for e in errors(suite)] == [
        "the target is production; say --allow-production to put it on trial"
    ]
    assert load_gate(suite / GATE, allow_production=True).target.environment == "production"


def test_a_fault_wider_than_its_blast_radius_is_refused_anywhere(suite: Path) -> None:
    change(suite, GATE, "  abort:\n", "  blastRadius: {maxRegions: 1, maxUsers: 10%}\n  abort:\n")
    assert any(
        "fault 'web-loss' touches 1 of the users; blastRadius allows 0.1" in error
        for error in errors(suite)
    )


def test_in_production_what_is_drawn_at_run_time_is_refused(suite: Path) -> None:
    change(suite, TARGET, "environment: test", "environment: production")
    change(suite, GATE, "  abort:\n", "  blastRadius: {maxRegions: 1, maxUsers: 100%}\n  abort:\n")
    change(
        suite, TRIAL, '{component: "${component}"}', '{component: {kind: service, share: "one of"}}'
    )
    assert any(
        "chooses its components only at run time" in e for e in errors(suite, allow_production=True)
    )


def test_secrets_stay_references(suite: Path) -> None:
    change(
        suite,
        TARGET,
        "      edges: [home]",
        '      headers: {Authorization: "Bearer ${TOKEN}"}\n      edges: [home]',
    )
    assert load_gate(suite / GATE).target.populations[0].headers == {
        "Authorization": "Bearer ${TOKEN}"
    }
    change(suite, TARGET, "Bearer ${TOKEN}", "Bearer abc123")
    found = errors(suite)
    assert ["header 'Authorization' holds a secret" in error for error in found] == [True]
    assert "abc123" not in "\n".join(found)


RADIUS = "  blastRadius: {maxRegions: 1, maxUsers: 1%}\n  abort:\n"


def test_a_fault_on_the_only_service_or_link_is_a_fault_on_everyone(suite: Path) -> None:
    change(suite, GATE, "  abort:\n", RADIUS)
    assert ["touches 1 of the users" in error for error in errors(suite)] == [True]
    change(suite, TARGET, LINK, WITH_LINK)
    change(suite, TARGET, "      region: home\n", "")
    for name in ("web", "link"):
        kill = asked(f"func: kill(component: {name})")
        (suite / TRIAL).write_text((suite / TRIAL).read_text().replace(KILL, kill))
        assert ["touches 1 of the users" in error for error in errors(suite)] == [True], name
        (suite / TRIAL).write_text((suite / TRIAL).read_text().replace(kill, KILL))


def test_actions_of_others_are_refused_in_production_unless_declared(suite: Path) -> None:
    change(suite, TARGET, "environment: test", "environment: production")
    change(suite, GATE, "  abort:\n", RADIUS.replace("1%", "100%"))
    provider = "{type: process, path: echo, arguments: hello}"
    change(suite, TRIAL, "{type: python, module: stormgate.chaos.actions, " + KILL + "}", provider)
    found = errors(suite, allow_production=True)
    assert ["web-loss.yaml:" in error and "nobody knows what" in error for error in found] == [True]
    title = "title: Users are served again"
    touches = "extensions: [{name: stormgate, touches: %s}]\n" + title
    change(suite, TRIAL, title, touches % "[web]")
    assert load_gate(suite / GATE, allow_production=True).gate == "shop-release"
    change(suite, TRIAL, "touches: [web]", "touches: [wbe]")
    assert [
        "has no component 'wbe'" in error for error in errors(suite, allow_production=True)
    ] == [True]
    change(suite, TRIAL, "touches: [wbe]", "touchs: [web]")
    assert any("unknown key 'touchs'" in error for error in errors(suite, allow_production=True))
