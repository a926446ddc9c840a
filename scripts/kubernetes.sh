#!/bin/sh
# Builds a real Kubernetes control plane (kube-apiserver, kube-controller-manager, kube-scheduler),
# etcd and kwok from their Go modules into the user's cache, once, for `make test-kubernetes`.
# Go 1.26 or newer must be on PATH. Cold: about 6 minutes on two quiet cores, 6 GB of Go caches.
set -eu

KUBERNETES=1.37.2
ETCD=3.7.3
KWOK=0.8.0
into=${STORMGATE_KUBERNETES:-${XDG_CACHE_HOME:-$HOME/.cache}/stormgate/kubernetes-$KUBERNETES}

[ -f "$into/complete" ] && { echo "$into"; exit 0; }
command -v go >/dev/null || { echo "scripts/kubernetes.sh needs Go 1.26 or newer on PATH" >&2; exit 2; }
mkdir -p "$into"
work=$(mktemp -d "$into/building.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
# A user's own GOFLAGS (-mod=vendor, -race) would break or change the build; only how many at once is theirs.
export CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off GOFLAGS="-modcacherw -buildvcs=false -p=${STORMGATE_BUILD_JOBS:-2}"

mkdir -p "$work/bin" "$work/kubernetes" "$work/etcd" "$work/kwok"

# The published module's own replacements point at its staging folders; the same code is published as modules of its own.
cd "$work/kubernetes"
source=$(cd "$work" && go mod download -json "k8s.io/kubernetes@v$KUBERNETES" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
{
  printf 'module stormgate.test/kubernetes\n\ngo 1.26.0\n\ngodebug default=go1.26\n\nrequire k8s.io/kubernetes v%s\n\ntool (\n' "$KUBERNETES"
  for one in kube-apiserver kube-controller-manager kube-scheduler; do printf '\tk8s.io/kubernetes/cmd/%s\n' "$one"; done
  printf ')\n\nreplace (\n'
  sed -n "s#^\t\(k8s.io/[a-z0-9.-]*\) => ./staging.*#\t\1 => \1 v0.${KUBERNETES#1.}#p" "$source/go.mod"
  printf ')\n'
} > go.mod
go mod tidy
for one in kube-apiserver kube-controller-manager kube-scheduler; do
  go build -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v$KUBERNETES" -o "$work/bin/$one" "k8s.io/kubernetes/cmd/$one"
done

# tool FOLDER MODULE VERSION PACKAGE NAME: one binary of a module that needs no replacement.
tool() {
  cd "$work/$1"
  printf 'module stormgate.test/%s\n\ngo 1.26.0\n\nrequire %s v%s\n\ntool %s\n' "$1" "$2" "$3" "$4" > go.mod
  go mod tidy
  go build -trimpath -ldflags '-s -w' -o "$work/bin/$5" "$4"
}
tool etcd go.etcd.io/etcd/server/v3 "$ETCD" go.etcd.io/etcd/server/v3 etcd
tool kwok sigs.k8s.io/kwok "$KWOK" sigs.k8s.io/kwok/cmd/kwok kwok
stages=$(cd "$work/kwok" && go list -m -f '{{.Dir}}' sigs.k8s.io/kwok)/kustomize/stage
for one in node/fast node/heartbeat-with-lease pod/fast; do
  for file in "$stages/$one"/*.yaml; do
    case $file in */kustomization.yaml) ;; *) printf -- '---\n'; cat "$file" ;; esac
  done
done > "$work/bin/kwok-stages.yaml"

for one in "$work/bin"/*; do mv -f "$one" "$into/"; done
printf 'kubernetes %s\netcd %s\nkwok %s\n' "$KUBERNETES" "$ETCD" "$KWOK" > "$into/complete"
echo "$into"
