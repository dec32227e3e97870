#!/usr/bin/env bash
# Remake this study: each task with its own defaults, beside the published algorithms on the same data, seeds 0 to 4, as
# many runs at a time as there are cores; then the figures and the table. Runs that exist are skipped or gone on with.
# The published algorithms on Hopper are part of results/dyna_ail, whose run.sh records their demonstrations and comes
# first.
set -euo pipefail
out=${1:-results/runs/interactions}
study=${2:-results/runs/dyna_ail}
dyna-ail sweep --out "$out" --seeds 5 --vary task=Hopper-v5 --vary "demos=$study/demos/Hopper-v5.npz" --vary preset=dyna-ail
for preset in dyna-mgail mgail gail bc; do
  ln -sfn "$(realpath "$study/4-thinned/Hopper-v5/$preset")" "$out/Hopper-v5/$preset"
done
tasks=CartPole-v1,Acrobot-v1,MountainCar-v0,HalfCheetah-v5,Walker2d-v5,Ant-v5,Humanoid-v5
dyna-ail sweep --out "$out" --seeds 5 --vary task=$tasks --vary preset=dyna-ail,dyna-mgail,mgail,gail,bc
bash "$(dirname "$0")/figures.sh" "$out"
