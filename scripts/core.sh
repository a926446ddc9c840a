#!/bin/sh
# The load engine's core with warnings as errors, and its tests under AddressSanitizer and UBSan.
# What the interpreter itself never frees is no leak of the core's. Leaves an ordinary build behind.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
lib() { "${CC:-cc}" -print-file-name="$1"; }
trap 'touch hatch_build.py; $python hatch_build.py' EXIT
$python hatch_build.py --asan
export LD_PRELOAD="$(lib libasan.so) $(lib libubsan.so)" PYTHONMALLOC=malloc
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
$python -m pytest -q -p no:cacheprovider tests/unit/load/engine/core tests/unit/load/engine/test_differential.py
$python -m pytest -q -p no:cacheprovider tests/live/test_load_outcomes.py -k core
