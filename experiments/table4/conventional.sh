#!/bin/sh
# The validation errors of CG-SENSE and l1-wavelet with several regularisations at every acceleration; prints a line each.
set -e
for acceleration in 2 3 4; do
  out=runs/table4/conventional/${acceleration}x
  monarch-sciml compare --config experiments/table4/conventional.yaml --data.init_args.mask.init_args.acceleration $acceleration --output $out --options.resume true --options.progress false >/dev/null
  for run in $out/*/seed-0; do
    echo "${acceleration}x $(basename "$(dirname "$run")"): $(monarch-sciml evaluate "$run" --split validation --progress false | tr '\n' ' ')"
  done
done
