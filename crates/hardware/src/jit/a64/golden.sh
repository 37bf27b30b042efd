#!/bin/sh
# Writes golden.txt: the words of golden.s as GNU as for aarch64 assembles them (binutils 2.40 or later).
set -eu
cd "$(dirname "$0")"
object=$(mktemp)
trap 'rm -f "$object"' EXIT
aarch64-linux-gnu-as -march=armv9-a+sme+sme-f64 -o "$object" golden.s
aarch64-linux-gnu-objdump -d "$object" | sed -n 's/^ *[0-9a-f]*:\t\([0-9a-f]*\) .*/\1/p' >golden.txt
