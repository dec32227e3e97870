#!/usr/bin/env bash
# Remake this study: each task with its own defaults, beside the published algorithms on the same data, seeds 0 to 4, as
# many runs at a time as there are cores; then the figures and the table. Runs that exist are skipped or gone on with.
set -euo pipefail
out=${1:-results/runs/interactions}
tasks=CartPole-v1,Acrobot-v1,MountainCar-v0,Hopper-v5,HalfCheetah-v5,Walker2d-v5,Ant-v5,Humanoid-v5
dyna-ail sweep --out "$out" --seeds 5 --vary task=$tasks --vary preset=dyna-ail,dyna-mgail,mgail,gail,bc
bash "$(dirname "$0")/figures.sh" "$out"
