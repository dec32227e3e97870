#!/usr/bin/env bash
# Remake this study: the default without one of its parts at a time, seeds 0 to 4, as many runs at a time as there are
# cores; then the figures and the table. The default itself is part of results/interactions, whose run.sh comes first.
# Runs that exist are skipped or gone on with.
set -euo pipefail
out=${1:-results/runs/ablation}
default=${2:-results/runs/interactions}
study=${3:-results/runs/dyna_ail}
dyna-ail sweep --out "$out/lost" --seeds 5 --vary task=Ant-v5 --vary lost_after=0
dyna-ail sweep --out "$out/lost" --seeds 5 --vary task=HalfCheetah-v5 --vary "demos=$study/demos/HalfCheetah-v5.npz" --vary lost_after=0
bash "$(dirname "$0")/figures.sh" "$out" "$default"
