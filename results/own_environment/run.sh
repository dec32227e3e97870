#!/usr/bin/env bash
# Remake this study: the example's environment, its own 10 demonstrations, 15 runs, two at a time, then its table and its
# figure.
set -euo pipefail
mkdir -p "${1:-results/runs/own_environment}"
out=$(realpath "${1:-results/runs/own_environment}")
cd "$(dirname "$0")/../../examples/own_environment"
python record.py
data="--task orbit:Orbit-v0 --demos orbit-demos.npz --trajectories 10 --every 10"
small="--forward_model.hidden 64 64 --planner.critic.hidden 64 64"
for seed in 0 1 2 3 4; do
  echo "$data --interactions 12000 --evaluation.every 500 $small --seed $seed --out $out/dyna-ail/$seed"
  echo "$data --preset gail --interactions 12000 --evaluation.every 500 --seed $seed --out $out/gail/$seed"
  echo "$data --preset bc --evaluation.episodes 50 --seed $seed --out $out/bc/$seed"
done | xargs -P 2 -L 1 dyna-ail train
dyna-ail table "$out"/*/?
dyna-ail plot "$out"/*/? --out "$out"/learning_curves.png
