#!/usr/bin/env bash
# Makes the Python environment of the risk measures' peers beside this script (numpy, pandas; about 150 MB) and prints
# what to export.
#   eval "$(benches/peers/risk_measures/prepare.sh)"
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ -x "$folder/.venv/bin/pip" ] || python3 -m venv "$folder/.venv"
"$folder/.venv/bin/pip" install --quiet --requirement "$folder/requirements.txt" >&2
echo "export NAUTILUS_PEER_RISK_PYTHON=$folder/.venv/bin/python"
