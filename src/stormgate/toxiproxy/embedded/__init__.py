"""The embedded server: Toxiproxy's HTTP API and toxics on asyncio, for machines where the real one
cannot be had.

Runs as its own process (`python -m stormgate.toxiproxy.embedded`). Where it differs from the real
server, and why: docs/toxiproxy.md.
"""
