"""Make a scan in fastMRI layout of alignedSENSE's image and measured coil maps.

    python experiments/real/prepare.py alignedSENSE_xGT_sens32.mat aligned_sense.h5

The .mat file (mriphysics/alignedSENSE on GitHub, MIT) holds the complex brain image `xGT`
(128, 128) and 32 coil maps `S` (128, 128, 1, 32); the k-space is the centred FFT of their
products, noiseless.
"""

import sys
from pathlib import Path

import numpy as np
import scipy.io
import torch

from monarch_sciml.data import Scan, write_fastmri
from monarch_sciml.physics import fft2c


def main(source: Path, target: Path) -> None:
    arrays = scipy.io.loadmat(source)
    maps = torch.from_numpy(arrays["S"][:, :, 0].astype(np.complex64)).movedim(-1, 0)  # (c, H, W)
    image = torch.from_numpy(arrays["xGT"].astype(np.complex64))
    write_fastmri(target, Scan(fft2c(maps * image)[None], coil_maps=maps[None]), overwrite=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
