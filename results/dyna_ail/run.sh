#!/usr/bin/env bash
# Remake the Dyna-AIL paper's experiments: 50 demonstrations with every pair, and 4 with every 20th, of CartPole, Hopper
# and HalfCheetah; seeds 0 to 4; as many runs at a time as there are cores, in all about 12 hours of one core. Runs that
# exist are skipped or gone on with. Then the figures and the tables.
set -euo pipefail
out=${1:-results/runs/dyna_ail}
mkdir -p "$out/demos"
many() { # folder, trajectories, every, task, interactions, then what to vary
  local data=$1 trajectories=$2 every=$3 task=$4 interactions=$5
  shift 5
  dyna-ail sweep --out "$out/$data" --seeds 5 --vary "task=$task" --vary "demos=$out/demos/$task.npz" \
    --vary "trajectories=$trajectories" --vary "every=$every" --vary "interactions=$interactions" \
    --vary policy.least_std=0 --vary discriminator.recent=0 --vary lost_after=0 --vary planner.critic.real_updates=0 \
    "$@" # the default then; the published have 0
}
for task in CartPole-v1 Hopper-v5 HalfCheetah-v5; do
  [ -e "$out/demos/$task.npz" ] || dyna-ail demos record --task "$task" --episodes 50 --out "$out/demos/$task.npz"
  presets=dyna-ail,dyna-mgail,mgail,gail full=8000 thinned=8000
  [ "$task" != Hopper-v5 ] || presets+=,dyna-trpo full=30000 thinned=30000
  [ "$task" != HalfCheetah-v5 ] || full=20000 thinned=30000
  many 50-full 50 1 "$task" "$full" --vary "preset=$presets"
  many 50-full 50 1 "$task" 0 --vary preset=bc
  many 4-thinned 4 20 "$task" "$thinned" --vary "preset=$presets"
  many 4-thinned 4 20 "$task" 0 --vary preset=bc
done
many 50-full 50 1 Hopper-v5 20000 --vary preset=dyna-mgail --vary planner.horizon=5,50 # Fig. 5
many 50-full 50 1 HalfCheetah-v5 20000 --vary preset=dyna-mgail --vary planner.horizon=5,50
bash "$(dirname "$0")/figures.sh" "$out"
