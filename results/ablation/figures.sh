#!/usr/bin/env bash
# The figures and the table of this study, from the runs in its folder (or in the one given) and the default's.
set -euo pipefail
here=$(dirname "$0")
runs=${1:-$here}
default=${2:-$here/../interactions}
for task in Ant-v5; do
  dyna-ail plot "$default/$task"/dyna-ail/[0-4] "$runs"/*/"$task"/*/[0-4] --out "$runs/$task.png"
done
dyna-ail table "$default"/Ant-v5/dyna-ail/[0-4] "$runs"/*/*/*/[0-4] | tee "$runs/table.md"
