#!/usr/bin/env bash
# Makes the Python environment of the risk simulation' peers beside this script (numpy, scipy; about 200 MB) and prints
# what to export.
#   eval "$(benches/peers/risk_simulation/prepare.sh)"
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ -x "$folder/.venv/bin/pip" ] || python3 -m venv "$folder/.venv"
"$folder/.venv/bin/pip" install --quiet --requirement "$folder/requirements.txt" >&2
echo "export NAUTILUS_PEER_SIMULATION_PYTHON=$folder/.venv/bin/python"
