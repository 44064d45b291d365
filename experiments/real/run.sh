#!/bin/sh
# Every fully sampled scan of a folder at 2x, 3x, 4x and 6x (Poisson disc, calibration 24), by the conventional methods and by the
# networks of experiments/table4 with each of their seeds (trained on simulated scans only; at 6x those of 4x). Call it from the
# project's root:
#   sh experiments/real/run.sh FOLDER_OF_SCANS
set -e
scans=$1
python experiments/real/prepare.py "$scans/alignedSENSE_xGT_sens32.mat" data/aligned_sense.h5
for acceleration in 2 3 4 6; do
  trained=$acceleration
  [ "$trained" -gt 4 ] && trained=4
  for seed in 0 1 2; do
    set --
    for name in "k-space weighting" mSENSE "mSENSE + weighting" U-Net E2E-VarNet Monarch-VarNet MoDL; do
      set -- "$@" --run+ "runs/table4/${trained}x/$name/seed-$seed"
    done
    monarch-sciml reconstruct \
      "$scans/brain8ch_230x180_full.cfl" data/aligned_sense.h5 "$scans/larson_se_t1_sag.mat" \
      "$scans/twixtools_gre.dat" "$scans/pulseq_tut_GRE_prisma_1ch.dat" \
      --mask poisson --acceleration "$acceleration" "$@" \
      --output "runs/real/${acceleration}x/seed-$seed" --resume true --progress false
  done
done
# the figure of the page, at half its size
python - <<'END'
from PIL import Image

with Image.open("runs/real/4x/seed-0/pulseq_tut_GRE_prisma_1ch.png") as picture:
    picture.convert("RGB").reduce(2).save("experiments/real/figures/phantom_4x.png", optimize=True)
END
