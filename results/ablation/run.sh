#!/usr/bin/env bash
# Remake this study: the default without one of its parts at a time, seeds 0 to 4, as many runs at a time as there are
# cores; then the figures and the tables. The default itself is part of results/interactions, whose run.sh comes first.
# Runs that exist are skipped or gone on with.
set -euo pipefail
out=${1:-results/runs/ablation}
default=${2:-results/runs/interactions}
without() { # folder, task, then what replaces the part
  local name=$1 task=$2
  shift 2
  dyna-ail sweep --out "$out/$name" --seeds 5 --vary "task=$task" "$@"
}
for part in planning:preset=model-free trpo:preset=model-based tail:planner.tail=false cloning:planner.cloning=0 averaging:policy.averaging=1 \
  noise:policy.least_std=0 recent:discriminator.recent=0 short_iterations:steps_per_iteration=500 \
  short_horizon:planner.horizon=10 lost:lost_after=0 real_updates:planner.critic.real_updates=0; do
  without ${part%%:*} Hopper-v5 --vary interactions=20000 --vary ${part#*:}
done
for task in CartPole-v1 MountainCar-v0 Acrobot-v1 HalfCheetah-v5 Walker2d-v5 Ant-v5; do
  without real_updates $task --vary planner.critic.real_updates=0
done
for task in Walker2d-v5 Ant-v5; do
  without lost $task --vary planner.critic.real_updates=0 --vary lost_after=0
done
bash "$(dirname "$0")/figures.sh" "$out" "$default"
