#!/bin/sh
# Time structured linear layers by width and number of vectors, about five minutes:  sh experiments/sparse_training/layer.sh
set -e
cd "$(dirname "$0")"
bench() {
    monarch-sciml benchmark linear "$@" --overwrite true > /dev/null
}
bench --output layer/float32 --widths "[256, 512, 768, 1024, 2048]" --vectors "[64, 512]" --max_seconds 5 \
    --candidates '["Monarch", "Monarch, contiguous", "low rank", "block-diagonal", "torch-structured"]'
bench --output layer/bfloat16 --widths "[256, 768]" --vectors "[64, 512]" --dtype bfloat16 --max_seconds 3 \
    --candidates '["Monarch", "Monarch, contiguous", "low rank", "torch-structured"]'
bench --output layer/other --widths "[512]" --vectors "[64]" --max_seconds 3
