"""What a request costs at equal rates: Stormgate on both its engines beside the open-loop clients a
user would take instead, in one run, from one server's count.

    python benchmarks/equal_rates.py [--rates 2000 10000 30000 60000] [--seconds 4] [--repeat 3]

nginx (Debian's package) has core 0, the client core 1, with 50 streams or connections and
keep-alive. Requests are counted by nginx, CPU by /proc, over the same stretch after a warm-up.
Peers found on PATH take part, others are said to be missing; who makes less than 95 % of a rate is
said so, and a ratio with it is none. wrk and ab know no rate: they run flat out, as the limit.
Ratios are of one turn; what is printed is the median of them. On a machine that does other things
compare nothing but ratios, and those with care: what others had meanwhile stands beside.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from load_peers import FAST, engine, measure, nginx

from stormgate.system.cpu import ProcessTree, machine_cpu
from stormgate.system.engine import has_core

OURS = {"python": "Stormgate, Python's transport", "core": "Stormgate, compiled core"}
DECLARED = "Stormgate, compiled core, declared steps"
STEPS = """
from stormgate.load import GeoUser, get

class Reader(GeoUser):
    rate_per_s = {rate}
    steps = (get("/", name="get", timeout_s=5),)
"""
K6 = """
import http from 'k6/http';
export const options = {{discardResponseBodies: true, scenarios: {{rate: {{
  executor: 'constant-arrival-rate', rate: {rate}, timeUnit: '1s', duration: '600s',
  preAllocatedVUs: 50, maxVUs: 500}}}}}};
export default function () {{ http.get(__ENV.TARGET); }}
"""
REACHED = 0.95
PROGRAMS = ("oha", "vegeta", "k6", "hey", "wrk", "ab")


@dataclass
class Turn:
    """One client at one rate: CPU a request in us, and the rate it made."""

    cost_us: float
    rate: float
    others: float


def peers(folder: Path, url: str, rate: int) -> dict[str, list[str]]:
    """The commands of the open-loop clients at a rate."""
    (folder / "target.txt").write_text(f"GET {url}\n")
    script = folder / f"k6-{rate}.js"
    script.write_text(K6.format(rate=rate))
    attack = ["vegeta", "attack", f"-rate={rate}", "-connections=50", "-duration=600s"]
    fast = folder / f"fast-{rate}.py"
    pace = f"    wait_time = constant_throughput({rate / 50})\n    @task"
    text = FAST.format(user="FastHttpUser").replace("    @task", pace)
    fast.write_text(text.replace("import FastHttpUser", "import constant_throughput, FastHttpUser"))
    locust = [sys.executable, "-m", "locust", "-H", url.rstrip("/"), "--headless", "-u", "50"]
    return {
        "oha -q": ["oha", "--no-tui", "-c", "50", "-q", str(rate), "-z", "600s", url],
        "vegeta -rate": [*attack, "-output=/dev/null", f"-targets={folder / 'target.txt'}"],
        "k6 constant-arrival-rate": ["k6", "run", "--quiet", "-e", f"TARGET={url}", str(script)],
        "hey -q": ["hey", "-c", "50", "-q", str(rate // 50), "-z", "600s", url],
        "Locust FastHttpUser": [*locust, "-r", "50", "--only-summary", "-f", str(fast)],
    }


def flat_out(url: str) -> dict[str, list[str]]:
    return {
        "wrk -t1 -c50, flat out": ["wrk", "-t1", "-c50", "-d600s", url],
        "ab -k -c50, flat out": ["ab", "-k", "-c", "50", "-t", "600", "-n", "50000000", url],
    }


def turn(argv: Sequence[str], port: int, seconds: float, env: dict[str, str]) -> Turn:
    """Measure one client. `others`: what share of all processors everybody else had meanwhile."""
    tree = ProcessTree(root=os.getpid())
    before, own = machine_cpu(), tree.cpu()
    begin = time.monotonic()
    found = measure(list(argv), port, seconds, 2, env)
    lasted_s = time.monotonic() - begin
    busy = machine_cpu().busy_s - before.busy_s - (tree.cpu().used_s - own.used_s)
    others = max(0.0, busy) / lasted_s / before.cores
    return Turn(1e6 / found.per_cpu_s, found.rate, others)


def of_rate(
    folder: Path, port: int, rate: int, number: int, engines: Sequence[str]
) -> dict[str, tuple[list[str], dict[str, str]]]:
    """All clients at a rate: command and environment."""
    url = f"http://127.0.0.1:{port}"
    clients: dict[str, tuple[list[str], dict[str, str]]] = {}
    for one in engines:
        argv, _ = engine(folder, url, rate, 2 * number + (one == "core"))
        clients[OURS[one]] = (argv, {"STORMGATE_ENGINE": one})
    if "core" in engines:
        argv, _ = engine(folder, url, rate, 10_000 + number)
        file = folder / f"steps-{rate}.py"
        file.write_text(STEPS.format(rate=rate / 50))
        argv[argv.index("-f") + 1] = str(file)
        clients[DECLARED] = (argv, {"STORMGATE_ENGINE": "core"})
    for name, command in peers(folder, url + "/", rate).items():
        if shutil.which(command[0]):
            clients[name] = (command, {})
    return clients


def table(rate: int, turns: dict[str, list[Turn]], base: str) -> None:
    """A row a client; `base`: who the ratios are of."""
    for name, mine in sorted(turns.items(), key=lambda item: item[1][0].cost_us):
        made = statistics.median(one.rate for one in mine)
        ratios = [one.cost_us / its.cost_us for one, its in zip(mine, turns[base], strict=True)]
        held = "flat out" in name or made >= REACHED * rate
        ratio = (
            f"{statistics.median(ratios):.2f}" if held else f"made {made / rate:.0%} of the rate"
        )
        cost = statistics.median(one.cost_us for one in mine)
        others = max(one.others for one in mine)
        print(f"| {rate:,}/s | {name} | {cost:.1f} | {ratio} | {made:,.0f}/s | {others:.0%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rates", type=int, nargs="+", default=[2_000, 10_000, 30_000, 60_000])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    engines = ["python", "core"] if has_core() else ["python"]
    base = OURS[engines[-1]]
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    print(f"not on PATH, so left out: {', '.join(missing) or 'nothing'}", file=sys.stderr)
    print(f"| rate | client | us CPU a request | of {base} | made | others had |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name, nginx(Path(name)) as (port, _):
        for rate in given.rates:
            turns: dict[str, list[Turn]] = {}
            for number in range(given.repeat):
                clients = of_rate(Path(name), port, rate, number, engines)
                for client, command in flat_out(f"http://127.0.0.1:{port}/").items():
                    if shutil.which(command[0]):
                        clients[client] = (command, {})
                for client, (command, env) in clients.items():
                    found = turn(command, port, given.seconds, env)
                    turns.setdefault(client, []).append(found)
                    print(f"{rate} {client}: {found}", file=sys.stderr, flush=True)
            table(rate, turns, base)


if __name__ == "__main__":
    main()
