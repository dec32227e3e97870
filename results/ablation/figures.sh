#!/usr/bin/env bash
# The figures and the table of this study, from the runs in its folder (or in the one given) and the default's.
set -euo pipefail
here=$(dirname "$0")
runs=${1:-$here}
study=${2:-$here/../dyna_ail}
all=("$runs"/*/*/*/? "$study"/4-thinned/{Hopper-v5,HalfCheetah-v5}/dyna-ail/?)
dyna-ail plot "${all[@]}" --out "$runs/learning_curves.png"
dyna-ail plot "${all[@]}" --score 20000 --out "$runs/score_at_20000.png"
dyna-ail table "${all[@]}" | tee "$runs/table.md"
