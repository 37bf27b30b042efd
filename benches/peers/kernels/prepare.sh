#!/usr/bin/env bash
# Finds or fetches the peers (Debian's OpenBLAS, numpy's wheel with its own, the wheel `mkl`) and prints what to export:
#   eval "$(benches/peers/kernels/prepare.sh FOLDER)"
set -euo pipefail
folder=${1:?"name a folder for a Python environment, for example target/peers"}
openblas=/usr/lib/x86_64-linux-gnu/openblas-serial/libopenblas.so.0
[ -e "$openblas" ] || echo "no Debian OpenBLAS: apt-get install libopenblas0-serial" >&2
[ -x "$folder/bin/pip" ] || python3 -m venv "$folder"
"$folder/bin/pip" install --quiet numpy mkl >&2
numpy=$(find "$folder" -name 'libscipy_openblas64_*.so' | head -n 1)
mkl=$(find "$folder" -name 'libmkl_rt.so*' | head -n 1)
[ -e "$openblas" ] && echo "export NAUTILUS_PEER_OPENBLAS=$openblas"
echo "export NAUTILUS_PEER_OPENBLAS_NUMPY=$(realpath "$numpy")"
echo "export NAUTILUS_PEER_MKL=$(realpath "$mkl") MKL_THREADING_LAYER=SEQUENTIAL"
