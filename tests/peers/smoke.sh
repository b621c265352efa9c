#!/usr/bin/env bash
# Builds the peers if need be, brings up a two-network mesh from them and calls through its gateway.
# Arguments go to "peers smoke", for example -v or --sidecar.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peers=$("$here/build.sh")
exec "$peers" smoke "$@" </dev/null
