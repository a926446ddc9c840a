"""The same small site behind servers people use: `python popular_servers.py aiohttp|uvicorn` prints
its port.

/hello answers at once, /chunked in chunks of unknown length, /echo with what it was sent, /count
how often each was asked.
"""

import asyncio
import collections
import json
import socket
import sys

COUNTS = collections.Counter()
CHUNKS = [b"wiki", b"pedia" * 1000, b"end"]


def listening():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


async def serve_aiohttp(listener):
    from aiohttp import web

    async def handle(request):
        COUNTS[request.path] += 1
        if request.path == "/echo":
            return web.Response(body=await request.read())
        if request.path == "/count":
            return web.json_response(COUNTS)
        if request.path == "/hello":
            return web.Response(text="hello")
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for chunk in CHUNKS:
            await response.write(chunk)
        await response.write_eof()
        return response

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    await asyncio.Event().wait()


async def site(scope, receive, send):
    if scope["type"] != "http":
        return
    path = scope["path"]
    COUNTS[path] += 1
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    chunks = {"/echo": [body], "/count": [json.dumps(COUNTS).encode()], "/hello": [b"hello"]}.get(
        path, CHUNKS
    )
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/plain")],
        }
    )
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def serve_uvicorn(listener):
    import uvicorn

    await uvicorn.Server(uvicorn.Config(site, log_level="error")).serve(sockets=[listener])


if __name__ == "__main__":
    mine = listening()
    print(mine.getsockname()[1], flush=True)
    asyncio.run({"aiohttp": serve_aiohttp, "uvicorn": serve_uvicorn}[sys.argv[1]](mine))
