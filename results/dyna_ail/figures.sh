#!/usr/bin/env bash
# The figures and tables of this study, from the runs in its folder (or in the one given).
set -euo pipefail
runs=${1:-$(dirname "$0")}
for data in 50-full 4-thinned; do
  dyna-ail plot "$runs/$data"/*/{dyna-mgail,mgail}/? --out "$runs/$data/fig_4.png"
  dyna-ail plot "$runs/$data"/Hopper-v5/{dyna-trpo,gail}/? --out "$runs/$data/fig_6.png"
  for task in "$runs/$data"/*/; do
    dyna-ail plot "$task"/*/? --out "$task/learning_curves.png"
  done
  dyna-ail table "$runs/$data"/*/*/? | tee "$runs/$data/table.md"
done
dyna-ail plot "$runs"/50-full/{Hopper-v5,HalfCheetah-v5}/dyna-mgail*/? --out "$runs/50-full/fig_5.png"
dyna-ail plot "$runs"/50-full/{Hopper-v5,HalfCheetah-v5}/dyna-mgail*/? --share --out "$runs/50-full/fig_5_share.png"
