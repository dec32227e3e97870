#!/usr/bin/env bash
# Remake this study: each task with its own defaults, seeds 0 to 4, beside the published algorithms on the same data, and
# what each part of the default is worth. As many runs at a time as there are cores. Runs that exist are skipped or gone
# on with. Then the figures and the table.
set -euo pipefail
out=${1:-results/runs/interactions}
presets=dyna-ail,dyna-mgail,mgail,gail,bc
dyna-ail sweep --out "$out" --seeds 5 --vary task=Acrobot-v1,MountainCar-v0,Walker2d-v5 --vary "preset=$presets"
dyna-ail sweep --out "$out" --seeds 5 --vary task=Ant-v5 --vary "preset=$presets"
