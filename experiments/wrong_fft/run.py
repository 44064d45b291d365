"""Reconstruct scans of scanners whose readout is no Fourier transform.

python experiments/wrong_fft/run.py [--afresh] [conventional | networks] [SEED ...]

Settings are tuned first, on scanner 0, then every scanner has its turn: conventional methods, then
networks. Rows are written as they are found, and those that are there are left out, so that it can
be interrupted and repeated. Results, data and weights come into data/wrong_fft. It begins with the
rows that lie beside it, with --afresh with none.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from candidates import LEARNED, learned, oracle, physical
from scans import ACCELERATIONS, CALIBRATIONS, FOLDER, GRID, Slices, calibration, heads, mask_of

from monarch_sciml.data import read_encoding, write_encoding
from monarch_sciml.evaluation.environment import environment
from monarch_sciml.metrics.images import image_statistics, volume_metrics
from monarch_sciml.models import MoDL, ReconstructionUNet, VarNet
from monarch_sciml.models.reconstruction.cg_sense import CGSENSE
from monarch_sciml.models.reconstruction.l1_wavelet import L1Wavelet
from monarch_sciml.physics import ReadoutEncoding

HERE = Path(__file__).parent
KEYS = ("seed", "method", "encoding", "calibration_slices", "acceleration")
WEIGHTS = {
    "CG-SENSE": (3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
    "l1-wavelet": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
}
RATES = (1e-3, 3e-3)
N_STEPS, BATCH = 240, 2
"""Training steps of every network, and slices in each."""
TUNED_AT = 2
"""The acceleration at which regularisation weights, ridges and learning rates are chosen."""
SLICES_AT_TUNING = 4


class Table:
    """Rows of a CSV file of results, found again by their keys."""

    def __init__(self, name: str, keys: tuple[str, ...]) -> None:
        self.path, self.keys = FOLDER / name, keys
        self.rows: list[dict[str, str]] = []
        if self.path.exists():
            with self.path.open(newline="") as stream:
                self.rows = list(csv.DictReader(stream))

    def find(self, **keys) -> dict[str, str] | None:
        """Return the row with all of these values, if there is one."""
        wanted = {name: str(value) for name, value in keys.items()}
        return next((row for row in self.rows if wanted.items() <= row.items()), None)

    def add(self, **row) -> dict[str, str]:
        """Append a row to the file."""
        new = {name: str(value) for name, value in row.items()}
        self.rows.append(new)
        fresh = not self.path.exists()
        with self.path.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, new, lineterminator="\n")
            if fresh:
                writer.writeheader()
            writer.writerow(new)
        print(*new.values(), flush=True)
        return new


def solver(name: str, weight: float) -> torch.nn.Module:
    """Return a conventional method."""
    if name == "CG-SENSE":
        return CGSENSE(GRID, regularization=weight, n_iterations=25, tolerance=1e-3)
    return L1Wavelet(GRID, regularization=weight, n_iterations=30)


@torch.no_grad()
def images_of(method: torch.nn.Module, slices: Slices, acceleration: int, maps: str):
    """Return the images (s, H, W) of a method."""
    mask = mask_of(acceleration)
    maps_ = slices.maps if maps == "true" else slices.espirit
    return method(slices.kspace * mask, mask.expand(len(slices), *GRID), maps_)


def errors(images, slices: Slices) -> dict[str, float]:
    """Return NMSE, PSNR and SSIM of the magnitudes, as fastMRI defines them, over all slices."""
    image, target = images.abs(), slices.target.abs()
    pieces = image_statistics(image, target, target.amax().expand(len(slices)))
    found = volume_metrics(pieces, torch.zeros(len(slices), dtype=torch.int64))
    return {name: float(found[name][0]) for name in ("nmse", "psnr", "ssim")}


@lru_cache(maxsize=8)
def data(seed: int, part: str, ideal: bool = False) -> Slices:
    return heads(seed, part, ideal=ideal)


@lru_cache(maxsize=2)
def sums(seed: int, n_slices: int):
    return calibration(seed, n_slices)


def encoding_of(name: str, seed: int, n_slices: int) -> ReadoutEncoding | None:
    """Return an encoding; ridge and bands of learned ones are chosen by the validation heads.

    The choice is made once for each number of slices, on scanner 0, by CG-SENSE at R = 2.
    """
    if name == "FFT":
        return None
    if name == "oracle":
        return oracle(seed)
    if name == "28 physical numbers":
        path = FOLDER / f"physical_{seed}_{n_slices}.safetensors"
        if not path.exists():
            write_encoding(physical(sums(seed, n_slices)), path)
        return read_encoding(path).encoding
    chosen = Table("tuning.csv", ("what", "setting"))
    return learned(sums(seed, n_slices), json.loads(best(chosen, f"{name}, {n_slices} slices")))


def best(table: Table, what: str) -> str:
    """Return the setting with the smallest validation error."""
    rows = [row for row in table.rows if row["what"] == what]
    if not rows:
        raise SystemExit(f"{what}: nothing is tuned yet. Run the part `tune` first.")
    return min(rows, key=lambda row: float(row["nmse"]))["setting"]


def tune(seed: int = 0) -> None:
    """Choose the settings of all encodings and solvers by the validation heads of one scanner."""
    table, held = Table("tuning.csv", ("what", "setting")), data(seed, "validation")

    def tried(what: str, settings: list, make: Callable, maps: str = "true") -> None:
        for setting in settings:
            text = json.dumps(setting)
            if table.find(what=what, setting=text) is None:
                found = errors(images_of(make(setting), held, TUNED_AT, maps), held)
                table.add(what=what, setting=text, nmse=f"{found['nmse']:.5f}")

    for maps in ("true", "ESPIRiT"):
        tried(f"FFT maps {maps}", [0.01], lambda w: solver("CG-SENSE", w), maps)
    for n_slices in CALIBRATIONS:
        for name, settings in LEARNED.items():
            tried(
                f"{name}, {n_slices} slices",
                settings,
                lambda s, n=n_slices: solver("CG-SENSE", 0.01).set_encoding(
                    learned(sums(seed, n), s)
                ),
            )
    for name in ("FFT", *LEARNED, "28 physical numbers", "oracle"):
        encoding = encoding_of(name, seed, SLICES_AT_TUNING)
        maps = fft_maps() if name == "FFT" else "true"
        for method, weights in WEIGHTS.items():
            tried(
                f"{method}, {name}",
                list(weights),
                lambda w, m=method, e=encoding: solver(m, w).set_encoding(e),
                maps,
            )


def fft_maps() -> str:
    """Return the coil maps with which the FFT does better, true or by ESPIRiT from its images."""
    table = Table("tuning.csv", ("what", "setting"))
    return min(
        ("true", "ESPIRiT"),
        key=lambda maps: float(table.find(what=f"FFT maps {maps}")["nmse"]),
    )


def conventional(seed: int) -> None:
    """Reconstruct the test heads of a scanner by CG-SENSE and l1-wavelet with every encoding."""
    table, tuned = Table("results.csv", KEYS), Table("tuning.csv", ("what", "setting"))
    jobs = [("FFT", 0), ("oracle", 0)]
    jobs += [(n, c) for c in CALIBRATIONS for n in (*LEARNED, "28 physical numbers")]
    for name, n_slices in jobs:
        methods = ["CG-SENSE"] + (["l1-wavelet"] if n_slices in (0, SLICES_AT_TUNING) else [])
        keys = {"seed": seed, "encoding": name, "calibration_slices": n_slices}
        wanted = [(m, r) for m in methods for r in ACCELERATIONS]
        if all(table.find(**keys, method=m, acceleration=r) for m, r in wanted):
            continue
        encoding = encoding_of(name, seed, n_slices)
        for method, acceleration in wanted:
            if table.find(**keys, method=method, acceleration=acceleration) is None:
                weight = json.loads(best(tuned, f"{method}, {name}"))
                one = solver(method, weight).set_encoding(encoding)
                maps = fft_maps() if name == "FFT" else "true"
                report(table, one, seed, method, name, n_slices, acceleration, maps)


def report(table, method, seed, name, encoding, n_slices, acceleration, maps) -> None:
    held, begun = data(seed, "test"), time.process_time()
    found = errors(images_of(method, held, acceleration, maps), held)
    table.add(
        seed=seed,
        method=name,
        encoding=encoding,
        calibration_slices=n_slices,
        acceleration=acceleration,
        nmse=f"{found['nmse']:.5f}",
        psnr=f"{found['psnr']:.2f}",
        ssim=f"{found['ssim']:.4f}",
        cpu_seconds_per_slice=f"{(time.process_time() - begun) / len(held):.3f}",
    )


NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "U-Net": lambda: ReconstructionUNet(GRID, hidden_channels=16, n_levels=3),
    "VarNet": lambda: VarNet(GRID, n_cascades=4, hidden_channels=8, n_levels=3),
    "MoDL": lambda: MoDL(GRID, n_iterations=3, hidden_channels=12, n_levels=3, n_cg_iterations=8),
    "MoDL of an ideal scanner": lambda: MoDL(
        GRID, n_iterations=3, hidden_channels=12, n_levels=3, n_cg_iterations=8
    ),
}
"""The networks. All but the last are trained on scans of the scanner itself and the true images."""


def trained(name: str, seed: int, rate: float, n_steps: int) -> torch.nn.Module:
    """Return a network after training at all accelerations alike, from its file if it is there."""
    path = FOLDER / f"{name.replace(' ', '_')}_{seed}_{rate:g}_{n_steps}.pt"
    torch.manual_seed(seed)
    network = NETWORKS[name]()
    if path.exists():
        network.load_state_dict(torch.load(path, weights_only=True))
        return network.eval()
    ideal = "ideal" in name
    train = data(seed, "train", ideal)
    maps = train.maps if ideal or fft_maps() == "true" else train.espirit
    optimiser = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    order = torch.Generator().manual_seed(seed)
    for step in range(n_steps):
        chosen = torch.randint(len(train), (BATCH,), generator=order)
        mask = mask_of(ACCELERATIONS[step % len(ACCELERATIONS)])
        target = train.target[chosen]
        image = network(train.kspace[chosen] * mask, mask.expand(BATCH, *GRID), maps[chosen])
        # the metric is that of magnitudes; with the FFT the phase of the target is out of reach
        loss = (image.abs() - target.abs()).square().sum() / target.abs().square().sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    torch.save(network.state_dict(), path)
    return network.eval()


def networks(seed: int) -> None:
    """Train the networks, and reconstruct the test heads of a scanner."""
    table, tuned = Table("results.csv", KEYS), Table("tuning.csv", ("what", "setting"))
    for name in NETWORKS:
        ideal = "ideal" in name
        for rate in RATES:  # on scanner 0, with a quarter of the steps
            if tuned.find(what=name, setting=rate) is None:
                held = data(0, "validation", ideal)
                one = trained(name, 0, rate, N_STEPS // 4)
                maps = "true" if ideal else fft_maps()
                found = errors(images_of(one, held, TUNED_AT, maps), held)
                tuned.add(what=name, setting=rate, nmse=f"{found['nmse']:.5f}")
        # a MoDL of an ideal scanner is trained once, and meets all scanners
        network = trained(name, 0 if ideal else seed, float(best(tuned, name)), N_STEPS)
        jobs = [("FFT", 0)]
        if ideal:
            jobs = [("oracle", 0)]
            jobs += [(n, SLICES_AT_TUNING) for n in (*LEARNED, "28 physical numbers")]
        for encoding, n_slices in jobs:
            keys = {"seed": seed, "method": name, "encoding": encoding}
            keys |= {"calibration_slices": n_slices}
            left = [r for r in ACCELERATIONS if table.find(**keys, acceleration=r) is None]
            if not left:
                continue
            if ideal:
                network.set_encoding(encoding_of(encoding, seed, n_slices))
            for acceleration in left:
                maps = "true" if ideal else fft_maps()
                report(table, network, seed, name, encoding, n_slices, acceleration, maps)


def main(*words: str) -> None:
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in () if "--afresh" in words else HERE.glob("*.csv"):
        if not (FOLDER / path.name).exists():
            shutil.copy(path, FOLDER)
    (FOLDER / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n")
    parts = {"conventional": conventional, "networks": networks}
    asked = [word for word in words if word in parts] or list(parts)
    tune()
    for seed in map(int, [word for word in words if word.isdigit()] or (0, 1, 2)):
        for part in asked:
            parts[part](seed)


if __name__ == "__main__":
    main(*sys.argv[1:])
