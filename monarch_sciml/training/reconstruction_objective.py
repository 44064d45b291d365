"""The objective of reconstructed images.

Letters: B batch, H x W matrix, N samples (slices), V volumes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, one_of, positive_number, usage_errors
from monarch_sciml.metrics.images import image_statistics, volume_metrics
from monarch_sciml.physics.sense_operator import fft2c
from monarch_sciml.training.objective import Batch, Objective


@dataclass(frozen=True)
class ReconstructionObjective(Objective):
    """Train and evaluate a network that reconstructs an image from undersampled k-space.

    Batches hold `masked_kspace` and `coil_maps` (B, coils, H, W) complex, `mask` (B, H, W),
    `target` (B, H, W) complex, `scale` (B,) (the data were divided by it), `max` (B,) (largest
    target magnitude of the volume, after that division) and `volume` (B,). The metrics are
    fastMRI's, of magnitude images in the units of the data, with one value per volume: `nmse`,
    `psnr` (dB), `ssim`.

    Attributes
    ----------
    criterion
        "l1": mean of |x - t| over complex pixels; "mse": mean of |x - t|^2; "ssim": 1 - SSIM(|x|,
        |t|), fastMRI's SSIM of the slice (7 x 7, range `max`); "kspace": mean of |F S_c (x - t)|
        over all coils and all of k-space, sampled or not, F the centred orthonormal FFT; for one
        set of maps.
    ssim_weight, kspace_weight
        Weights with which the criteria "ssim" and "kspace" are added, 0 for none.

    Notes
    -----
    SSIM does not depend on the phase of the image and is computed in float64. Because F is unitary,
    a squared error in k-space would equal that of the image; the modulus gives the many weak high
    frequencies more weight.

    References
    ----------
    Sriram et al., arXiv 2004.06688 (trained on SSIM); Zhao et al., "Loss functions for image
    restoration with neural networks", IEEE TCI 3 (2017), arXiv 1511.08861 (l1 and SSIM together).
    """

    monitor: ClassVar[str] = "nmse"

    criterion: Literal["l1", "mse", "ssim", "kspace"] = "l1"
    ssim_weight: float = 0.0
    kspace_weight: float = 0.0

    @usage_errors()
    def __post_init__(self) -> None:
        one_of("criterion", self.criterion, ("l1", "mse", "ssim", "kspace"))
        for name in ("ssim_weight", "kspace_weight"):
            positive_number(name, getattr(self, name), or_zero=True)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return criterion + ssim_weight (1 - SSIM) + kspace_weight |F S (x - t)|, a mean."""
        prediction = self.predict(model, batch)
        loss = self._criterion(self.criterion, prediction, batch)
        for name, weight in (("ssim", self.ssim_weight), ("kspace", self.kspace_weight)):
            if weight:
                loss = loss + weight * self._criterion(name, prediction, batch)
        return loss

    def _criterion(self, name: str, prediction: Tensor, batch: Batch) -> Tensor:
        target = batch["target"]
        if name == "ssim":
            if not bool(prediction.isfinite().all()):  # the loop says which step, and what to do
                return prediction.abs().mean() * torch.nan
            pieces = image_statistics(prediction.abs(), target.abs(), batch["max"])
            return 1 - pieces["ssim"].mean().to(target.real.dtype)
        error = prediction - target
        if name == "kspace":
            if batch["coil_maps"].dim() != error.dim() + 1:
                rule = 'the criterion "kspace" needs one set of coil maps (B, coils, H, W)'
                remedy = "Set `n_maps` to 1, or use another criterion."
                raise ValueError(message(rule, tuple(batch["coil_maps"].shape), remedy))
            error = fft2c(batch["coil_maps"] * error.unsqueeze(1))  # (B, coils, H, W)
        return error.abs().square().mean() if name == "mse" else error.abs().mean()

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the complex images (B, H, W), in the normalised units of the data."""
        return model(batch["masked_kspace"], batch["mask"], batch["coil_maps"])

    def evaluate(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the pieces of the volume metrics of each slice."""
        scale = batch["scale"][:, None, None]
        prediction = self.predict(model, batch).abs() * scale
        target = batch["target"].abs() * scale
        pieces = image_statistics(prediction, target, batch["max"] * batch["scale"])
        return {**pieces, "volume": batch["volume"]}

    def reduce(self, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return nmse, psnr and ssim of each volume, in the order of the volume numbers."""
        pieces = {name: value for name, value in rows.items() if name != "volume"}
        metrics = volume_metrics(pieces, rows["volume"])
        return {name: metrics[name] for name in ("nmse", "psnr", "ssim")}
