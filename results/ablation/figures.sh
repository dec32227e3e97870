#!/usr/bin/env bash
# The figures and the table of this study, from the runs in its folder (or in the one given) and the default's.
set -euo pipefail
here=$(dirname "$0")
runs=${1:-$here}
default=${2:-$here/../interactions}
all=("$default"/Ant-v5/dyna-ail/[0-4] "$runs"/lost/Ant-v5/dyna-ail/[0-4])
dyna-ail plot "${all[@]}" --out "$runs/Ant-v5.png"
dyna-ail table "${all[@]}"
