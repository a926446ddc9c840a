#!/bin/sh
# The tests, in rounds: what needs no processes and what minds no neighbour two at a time; what counts
# on a machine of its own (load at its full rate, whole gates) one after the other. The Kubernetes
# client is not for a process that has locust in it, so its tests have processes of their own.
# Arguments go to pytest; with a path among them there is one round, of what lies there.
# Exit 1 when any round failed, 5 when no round had a test.
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
for argument in "$@"; do
  if [ -e "${argument%%::*}" ]; then
    .venv/bin/python -m pytest -q -m "not slow" "$@"
    exit
  fi
done
round "pure" "not live" -n 2 --dist worksteal "$@"
round "live, side by side" "live and not alone" -n 2 --dist loadfile --ignore=tests/live/kubernetes "$@"
round "live, Kubernetes" "live and not alone" -n 2 --dist loadfile tests/live/kubernetes "$@"
round "live, alone" "live and alone" --ignore=tests/live/kubernetes "$@"
exit "$worst"
