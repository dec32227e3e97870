#!/usr/bin/env bash
# The figures and the table of this study, from the runs in its folder (or in the one given) and the default's.
set -euo pipefail
here=$(dirname "$0")
runs=${1:-$here}
default=${2:-$here/../interactions}
for task in CartPole-v1 Hopper-v5 HalfCheetah-v5 Walker2d-v5 Ant-v5; do
  all=("$default/$task"/dyna-ail/[0-4] "$runs"/*/"$task"/*/[0-4])
  dyna-ail plot "${all[@]}" --out "$runs/$task.png"
  dyna-ail table "${all[@]}"
done
