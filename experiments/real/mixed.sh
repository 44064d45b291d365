#!/bin/sh
# MoDL trained on simulated scans of several noise levels and coil counts (mixed.yaml), on the scans of run.sh at 2x, 3x and 4x.
# Call it from the project's root, after run.sh, which makes data/aligned_sense.h5:
#   sh experiments/real/mixed.sh FOLDER_OF_SCANS
set -e
scans=$1
monarch-sciml generate scans --output data/mixed_scans --n_scans 30 --seed 1 --grid_shape "[128, 128]" --n_slices 8 \
  --coil_counts "[1, 2, 4, 8, 16]" --noise_levels "[0, 0.01, 0.03, 0.1]" --orientation random
monarch-sciml compare --config experiments/real/mixed.yaml --only MoDL --seeds "[0]" --options.resume true
for acceleration in 2 3 4; do
  monarch-sciml reconstruct \
    "$scans/brain8ch_230x180_full.cfl" data/aligned_sense.h5 "$scans/larson_se_t1_sag.mat" \
    "$scans/twixtools_gre.dat" "$scans/pulseq_tut_GRE_prisma_1ch.dat" \
    --mask poisson --acceleration "$acceleration" --run runs/real/mixed/MoDL/seed-0 \
    --output "runs/real/mixed/${acceleration}x" --resume true --progress false
done
