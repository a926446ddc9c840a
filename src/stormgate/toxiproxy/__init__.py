"""Toxiproxy: a client that reads back what it wrote, a launcher, and an embedded server with the
same HTTP API.

Nothing outside this package needs to know which server runs: `launcher.ensure_binary()` chooses,
`launcher.launch()` starts, `client.Client` talks.
"""
