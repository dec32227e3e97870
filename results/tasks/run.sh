#!/usr/bin/env bash
# Remake this study: each task with its own defaults (Humanoid: half the interactions), seeds 0 to 2, beside bc and gail
# on the same data; two runs at a time, about three hours on two cores. Runs that exist are skipped. Then its table and
# its figures.
set -euo pipefail
out=${1:-results/runs/tasks}
for task in CartPole-v1 MountainCar-v0 Acrobot-v1 Hopper-v5 Walker2d-v5 HalfCheetah-v5 Ant-v5 Humanoid-v5; do
  for seed in 0 1 2; do
    for preset in dyna-ail gail bc; do
      run=$out/$task/$preset/$seed
      budget=
      [[ $task/$preset == Humanoid-v5/bc || $task != Humanoid-v5 ]] || budget="--interactions 30000"
      [ -e "$run" ] || echo "$budget --task $task --preset $preset --seed $seed --out $run"
    done
  done
done | xargs --no-run-if-empty -P 2 -L 1 dyna-ail train
dyna-ail table "$out"/*/*/?
for task in "$out"/*/; do
  dyna-ail plot "$task"/*/? --out "$task/learning_curves.png"
done
