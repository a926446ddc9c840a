#!/bin/sh
# Sets up and puts the embedded lab on trial, with the gate's own exit code. `make` turns every failure into 2, so that it is said here.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh
code=0
.venv/bin/stormgate gate slas/chenu-release.yaml "$@" || code=$?
[ "$code" -eq 0 ] || printf 'gate: exit code %s\n' "$code" >&2
exit "$code"
