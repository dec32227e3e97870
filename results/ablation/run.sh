#!/usr/bin/env bash
# Remake this study: the default without one of its parts at a time, seeds 0 to 4, as many runs at a time as there are
# cores; then the figures and the tables. The default itself is part of results/interactions, whose run.sh comes first
# and whose demonstrations these are (of Hopper those of results/dyna_ail). Runs that exist are skipped or gone on with.
set -euo pipefail
out=${1:-results/runs/ablation}
default=${2:-results/runs/interactions}
study=${3:-results/runs/dyna_ail}
without() { # folder, task, then what replaces the part
  local name=$1 task=$2
  shift 2
  [ "$task" != Hopper-v5 ] || set -- "$@" --vary "demos=$study/demos/$task.npz"
  dyna-ail sweep --out "$out/$name" --seeds 5 --vary "task=$task" --vary planner.critic.real_updates=0 "$@"
}
for task in CartPole-v1 MountainCar-v0 Acrobot-v1 Hopper-v5 HalfCheetah-v5 Walker2d-v5 Ant-v5; do
  without real_updates $task
done
for task in Hopper-v5 Walker2d-v5 Ant-v5; do
  without lost $task --vary lost_after=0
done
bash "$(dirname "$0")/figures.sh" "$out" "$default"
