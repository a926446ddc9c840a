"""Run the embedded server: `python -m stormgate.toxiproxy.embedded --host 127.0.0.1 --port
8474`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import resource
import signal
import sys

from stormgate.net import httpserver
from stormgate.toxiproxy.embedded import address, http
from stormgate.toxiproxy.embedded.api import Api
from stormgate.toxiproxy.embedded.collection import Collection
from stormgate.toxiproxy.server import EMBEDDED_VERSION

# The real server's names for LOG_LEVEL.
_LEVELS = {
    "trace": logging.DEBUG, "debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING,
    "error": logging.ERROR, "fatal": logging.CRITICAL, "panic": logging.CRITICAL, "disabled": logging.CRITICAL,  # noqa: E501
}  # fmt: skip


async def serve(args: argparse.Namespace) -> None:
    """Answer until SIGTERM or SIGINT. Raises address.ListenError."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stopped.set)
    api = Api(Collection(args.seed), EMBEDDED_VERSION, metrics=args.proxy_metrics)
    sock, listening = address.listen(address.join(args.host, args.port))
    async with httpserver.serving(
        http.handler(api), sock=sock, refusal=http.refusal, body_max_bytes=http.BODY_MAX_BYTES
    ):
        print(f"toxiproxy API (embedded, {EMBEDDED_VERSION}) on http://{listening}", flush=True)
        await stopped.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="stormgate.toxiproxy.embedded", description=__doc__)
    parser.add_argument("--host", default="localhost", help="address of the API (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=8474, help="port of the API, 0: a free one (%(default)s)"
    )
    parser.add_argument("--seed", type=int, help="repeat toxicity, jitter and slices")
    parser.add_argument("--proxy-metrics", action="store_true", help="serve /metrics")
    args = parser.parse_args()
    logging.basicConfig(
        level=_LEVELS.get(os.environ.get("LOG_LEVEL", ""), logging.INFO), stream=sys.stdout
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Two descriptors a connection: the usual soft limit of 1024 would be 500 users.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.freeze()
    try:
        asyncio.run(serve(args))
    except address.ListenError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
