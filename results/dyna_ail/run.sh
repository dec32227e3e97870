#!/usr/bin/env bash
# Remake the Dyna-AIL paper's experiments: 50 demonstrations with every pair, and 4 with every 20th, of CartPole, Hopper
# and HalfCheetah; seeds 0 to 4; as many runs at a time as there are cores. Runs that exist are skipped or gone on with.
set -euo pipefail
out=${1:-results/runs/dyna_ail}
mkdir -p "$out/demos"
many() { # folder, trajectories, every, task, interactions, then what to vary
  local data=$1 trajectories=$2 every=$3 task=$4 interactions=$5
  shift 5
  dyna-ail sweep --out "$out/$data" --seeds 5 --vary "task=$task" --vary "demos=$out/demos/$task.npz" \
    --vary "trajectories=$trajectories" --vary "every=$every" --vary "interactions=$interactions" "$@"
}
for task in Hopper-v5 CartPole-v1 HalfCheetah-v5; do
  [ -e "$out/demos/$task.npz" ] || dyna-ail demos record --task "$task" --episodes 50 --out "$out/demos/$task.npz"
  presets=dyna-ail,dyna-mgail,mgail,gail interactions=30000
  [ "$task" != Hopper-v5 ] || presets+=,dyna-trpo
  [ "$task" != CartPole-v1 ] || interactions=8000
  for data in "50-full 50 1" "4-thinned 4 20"; do
    many $data "$task" "$interactions" --vary "preset=$presets"
    many $data "$task" 0 --vary preset=bc
  done
done
for task in Hopper-v5 HalfCheetah-v5; do # Fig. 5
  many 50-full 50 1 "$task" 30000 --vary preset=dyna-mgail --vary planner.horizon=5,50
done
