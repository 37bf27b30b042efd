#!/usr/bin/env bash
# Makes the Python environment of the features engine's peers beside this script (TA-Lib, pandas, polars, pyarrow; about
# 600 MB) and prints what to export: its Python, and the C library that TA-Lib's wheel brings, to open without Python.
#   eval "$(benches/peers/features/prepare.sh)"
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ -x "$folder/.venv/bin/pip" ] || python3 -m venv "$folder/.venv"
"$folder/.venv/bin/pip" install --quiet --requirement "$folder/requirements.txt" >&2
echo "export NAUTILUS_PEER_FEATURES_PYTHON=$folder/.venv/bin/python"
echo "export NAUTILUS_PEER_TALIB=$(find "$folder/.venv" -name 'libta-lib-*.so*' | head -n 1)"
