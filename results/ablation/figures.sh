#!/usr/bin/env bash
# The figures and the tables of this study, from the runs in its folder (or in the one given) and the default's.
set -euo pipefail
here=$(dirname "$0")
runs=${1:-$here}
default=${2:-$here/../interactions}
compare() { # folder of the part, task, with, without
  dyna-ail plot "$3"/[0-4] "$4"/[0-4] --out "$runs/$1/$2.png"
  dyna-ail table "$3"/[0-4] "$4"/[0-4]
}
parts=("$default"/Hopper-v5/dyna-ail/[0-4]
  "$runs"/{planning,trpo,tail,cloning,averaging,noise,recent,short_iterations,short_horizon,lost,real_updates}/Hopper-v5/*/[0-4])
dyna-ail plot "${parts[@]}" --score 10000 --out "$runs/Hopper-v5.png"
dyna-ail table "${parts[@]}" --until 20000
for task in CartPole-v1 MountainCar-v0 Acrobot-v1 HalfCheetah-v5 Walker2d-v5 Ant-v5; do
  compare real_updates $task "$default/$task/dyna-ail" "$runs/real_updates/$task/dyna-ail"
done
for task in Walker2d-v5 Ant-v5; do
  compare lost $task "$runs/real_updates/$task/dyna-ail" "$runs/lost/$task/dyna-ail"
done
