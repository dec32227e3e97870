#!/usr/bin/env bash
# Remake this study: the default without one of its parts at a time, on the demonstrations of results/dyna_ail (4, every
# 20th pair), seeds 0 to 4, as many runs at a time as there are cores; then the figures and the tables. The default
# itself is part of results/dyna_ail and its run.sh. Runs that exist are skipped or gone on with.
set -euo pipefail
out=${1:-results/runs/ablation}
study=${2:-results/runs/dyna_ail}
without() { # folder, then what replaces the part
  local name=$1
  shift
  for task in Hopper-v5 HalfCheetah-v5; do
    dyna-ail sweep --out "$out/$name" --jobs "${JOBS:-2}" --seeds 5 --vary "task=$task" --vary "demos=$study/demos/$task.npz" \
      --vary trajectories=4 --vary every=20 --vary interactions=20000 "$@"
  done
}
without cloning --vary planner.cloning=0
without tail --vary planner.tail=false
without trpo --vary preset=model-based
without short_horizon --vary planner.horizon=10
without short_iterations --vary steps_per_iteration=500
without averaging --vary policy.averaging=1
bash "$(dirname "$0")/figures.sh" "$out" "$study"
