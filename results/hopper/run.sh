#!/usr/bin/env bash
# Remake this study: 20 runs, two at a time, about an hour and a quarter on two cores, then its figures.
set -euo pipefail
out=${1:-results/runs/hopper}
for seed in 0 1 2 3 4; do
  echo "--preset dyna-ail --seed $seed --out $out/dyna-ail/$seed"
  echo "--preset gail --seed $seed --out $out/gail/$seed"
  echo "--preset bc --seed $seed --out $out/bc/$seed"
  echo "--discriminator.updates 0 --seed $seed --out $out/constant-reward/$seed"
done | xargs -P 2 -L 1 dyna-ail train
dyna-ail plot "$out"/{dyna-ail,gail,bc}/? --out "$out"/learning_curves.png
dyna-ail plot "$out"/{dyna-ail,constant-reward}/? --out "$out"/constant_reward.png
