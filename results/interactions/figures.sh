#!/usr/bin/env bash
# The figures and the tables of this study, from the runs in its folder (or in the one given).
set -euo pipefail
runs=${1:-$(dirname "$0")}
for task in "$runs"/*/; do
  dyna-ail plot "$task"*/[0-4] --out "${task}learning_curves.png"
done
dyna-ail table "$runs"/*/*/[0-4]
dyna-ail table "$runs"/*/*/[0-4] --against dyna-ail
