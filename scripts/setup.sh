#!/bin/sh
# Makes .venv with everything a gate and the tests need. Needs only Python 3.11+; uses uv where it is, else pip.
# Safe to call again: it does nothing when .venv was made from this lock file, by this Python, in this folder.
set -eu
cd "$(dirname "$0")/.."
here=$(pwd -P)

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 4; }

suits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' >/dev/null 2>&1; }
python=
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
  if command -v "$candidate" >/dev/null 2>&1 && suits "$candidate"; then python=$(command -v "$candidate"); break; fi
done
[ -n "$python" ] || fail "no Python 3.11 to 3.14 found (looked at: ${PYTHON:-python3 python3.13 python3.12 python3.11 python}); set PYTHON=/path/to/python"

wanted="$here $("$python" -c 'import sys; print(sys.version, sys.base_prefix)') $(cksum requirements.lock pyproject.toml scripts/setup.sh)"
core=src/stormgate/load/engine/core/_core.abi3.so
if [ -x .venv/bin/stormgate ] && [ -f .venv/.ready ] && [ "$(cat .venv/.ready)" = "$wanted" ]; then
  if [ -f "$core" ]; then .venv/bin/python hatch_build.py || say "the load engine's transport in Python takes over"; fi
  exit 0
fi

say "making .venv with $("$python" --version) ($python)"
rm -rf .venv
with_uv() {
  uv venv -q --python "$python" .venv \
    && uv pip install -q --compile-bytecode --python .venv/bin/python --require-hashes -r requirements.lock \
    && { uv pip install -q --python .venv/bin/python --no-deps -e . \
      || STORMGATE_PURE=1 uv pip install -q --python .venv/bin/python --no-deps -e .; }
}
with_pip() {
  "$python" -m venv .venv || fail "$python cannot make a venv (on Debian: apt install python3-venv)"
  .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock \
    || fail "the dependencies could not be installed (no network?)"
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps -e . \
    || STORMGATE_PURE=1 .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps -e . \
    || fail "stormgate itself could not be installed"
}
if command -v uv >/dev/null 2>&1; then
  # Where a network re-signs TLS, uv trusts its own list of signers and pip the machine's.
  with_uv || { say "uv could not (see above); once more with pip"; rm -rf .venv; with_pip; }
else
  with_pip
fi
if [ -f "$core" ]; then say "the load engine's compiled core is built"
else say "the load engine's compiled core is left out (no C compiler, or no Python headers): its transport in Python takes over"; fi
.venv/bin/stormgate setup || fail "the servers of the lab could not be prepared"
printf '%s\n' "$wanted" > .venv/.ready
say "ready"
