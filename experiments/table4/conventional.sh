#!/bin/sh
# The validation errors of CG-SENSE and l1-wavelet with several regularisations at every acceleration: prints conventional.md.
set -e
echo "| acceleration | method and regularisation | validation NMSE |"
echo "|---|---|---|"
for acceleration in 2 3 4; do
  out=runs/table4/conventional/${acceleration}x
  monarch-sciml compare --config experiments/table4/conventional.yaml --data.init_args.mask.init_args.acceleration $acceleration --output $out --options.resume true --options.progress false >/dev/null
  for run in $out/*/seed-0; do
    nmse=$(monarch-sciml evaluate "$run" --split validation --progress false | awk '$1 == "nmse" {print $2}')
    echo "| ${acceleration}x | $(basename "$(dirname "$run")") | $nmse |"
  done
done
