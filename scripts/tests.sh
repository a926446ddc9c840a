#!/bin/sh
# The tests, in three rounds: what needs no processes and what minds no neighbour two at a time; what
# counts on a machine of its own (load at its full rate, whole gates) one after the other.
# Arguments go to pytest. Exit 1 when any round failed, 5 when no round had a test.
set -u
cd "$(dirname "$0")/.."
worst=5
round() {
  say=$1 marks=$2; shift 2
  echo "== tests: $say"
  .venv/bin/python -m pytest -q -m "$marks and not slow" "$@"; code=$?
  case $code in
    0) [ "$worst" -eq 5 ] && worst=0 ;;
    5) ;; # with -k, a round may have none
    130 | 143 | 2) exit "$code" ;;
    *) worst=1 ;;
  esac
}
round "pure" "not live" -n 2 --dist worksteal "$@"
round "live, side by side" "live and not alone" -n 2 --dist loadfile "$@"
round "live, alone" "live and alone" "$@"
exit "$worst"
