#!/bin/sh
# Measure everything in results/ anew, about ten minutes on two cores:  sh experiments/speed/run.sh
set -e
cd "$(dirname "$0")"
bench() {  # all on one thread but where it says otherwise
    monarch-sciml benchmark "$@" --overwrite true > /dev/null
}
fast='["textbook rfftn", "pruned FFT", "dense matrices", "fixed Fourier", "Monarch"]'

bench layer --output results/layer-2d --sizes "[32, 64, 128, 256, 512]" --modes "[12, 8, 16, 24]" \
    --channels "[32, 16, 64]" --batch "[8, 4, 16]" --candidates "$fast" --max_seconds 10
bench layer --output results/layer-2d-2threads --sizes "[32, 64, 128, 256, 512]" --threads 2 \
    --candidates '["pruned FFT", "fixed Fourier", "Monarch"]' --max_seconds 8
# without page faults: glibc keeps what is freed
(
    export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296
    bench layer --output results/layer-2d-kept-memory --sizes "[32, 64, 128, 256]" \
        --candidates '["pruned FFT", "Monarch"]' --max_seconds 8
    bench mri --output results/mri-kept-memory --max_seconds 8
)
bench layer --output results/layer-2d-two-bmm --sizes "[32, 64, 128]" \
    --candidates '["two-bmm Monarch", "Monarch"]' --max_seconds 5
bench layer --output results/layer-3d --dims 3 --sizes "[32, 64]" --batch "[2]" \
    --candidates "$fast" --max_seconds 10
bench transform --output results/transform --sizes "[128, 256, 320, 512]" --max_seconds 8
bench model --output results/model --sizes "[64, 128]" --batch "[8, 16]" --max_seconds 10
bench layer --output results/layer-2d-corrected --sizes "[32, 64, 128]" \
    --candidates '["fixed Fourier", "Monarch", "corrected"]' --max_seconds 8
bench model --output results/model-corrected --sizes "[32, 64, 128]" --batch "[8]" --max_seconds 8
bench mri --output results/mri --max_seconds 8
bench generate --output results/generate --sizes "[64]"
bench load --output results/load --sizes "[64]"
python summary.py
