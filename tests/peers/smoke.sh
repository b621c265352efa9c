#!/usr/bin/env bash
# Builds the peers if necessary, starts a two-network mesh with them and calls a service through its gateway. Arguments
# are passed to "peers smoke", for example -v or --sidecar.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peers=$("$here/build.sh")
exec "$peers" smoke "$@" </dev/null
