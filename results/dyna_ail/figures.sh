#!/usr/bin/env bash
# The figures and tables of this study, from the runs in its folder (or in the one given).
set -euo pipefail
shopt -s nullglob
runs=${1:-$(dirname "$0")}
for data in 50-full 4-thinned; do
  dyna-ail plot "$runs/$data"/*/{dyna-mgail,mgail}/? --out "$runs/$data/fig_4.png"
  dyna-ail plot "$runs/$data"/Hopper-v5/{dyna-trpo,gail}/? --out "$runs/$data/fig_6.png"
  for task in CartPole-v1 Hopper-v5 HalfCheetah-v5; do
    all=("$runs/$data/$task"/{dyna-ail,dyna-mgail,mgail,dyna-trpo,gail,bc}/[0-4])
    dyna-ail plot "${all[@]}" --out "$runs/$data/$task/learning_curves.png"
  done
  dyna-ail table "$runs/$data"/*/*/?
done
horizons=("$runs"/50-full/{Hopper-v5,HalfCheetah-v5}/{"dyna-mgail,planner.horizon=5",dyna-mgail,"dyna-mgail,planner.horizon=50"}/?)
dyna-ail plot "${horizons[@]}" --out "$runs/50-full/fig_5.png"
dyna-ail plot "${horizons[@]}" --score 20000 --out "$runs/50-full/fig_5_score.png"
dyna-ail plot "${horizons[@]}" --share --out "$runs/50-full/fig_5_share.png"
