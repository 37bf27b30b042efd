#!/usr/bin/env bash
# Makes the Python environment of the stress engine's peer beside this script (numpy, QuantLib; about 130 MB) and prints
# what to export.
#   eval "$(benches/peers/stress/prepare.sh)"
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ -x "$folder/.venv/bin/pip" ] || python3 -m venv "$folder/.venv"
"$folder/.venv/bin/pip" install --quiet --requirement "$folder/requirements.txt" >&2
echo "export NAUTILUS_PEER_STRESS_PYTHON=$folder/.venv/bin/python"
