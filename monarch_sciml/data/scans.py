"""Data module of MRI scans: a folder of volumes, split by subject, undersampled on the fly."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from monarch_sciml._checks import message, positive_int
from monarch_sciml.data.fastmri import read_header
from monarch_sciml.data.scan_samples import CoilMaps, Normalization, ScanDataset, volume_mask_seed
from monarch_sciml.data.spec import DataModule, ScanSpec
from monarch_sciml.physics.sampling import SamplingMask, achieved_acceleration


class ScanModule(DataModule):
    """Undersample the volumes of a folder and split them by subject.

    The split depends on file names, subjects and `seed` alone: subjects are put into a fixed
    pseudo-random order, from which test, then validation, then training volumes are taken. So
    the test volumes stay the same when the other numbers change, and no subject (the attribute
    `patient_id` of a file) is in two parts. Every volume has one fixed mask, drawn from its file
    name, in all epochs and runs.

    Parameters
    ----------
    folder
        Folder of .h5 files in fastMRI layout, all of one matrix size and number of coils.
    mask
        How k-space is undersampled.
    n_train
        Number of volumes to train on.
    n_validation
        Number of volumes that choose the best checkpoint; 0 for none.
    n_test
        Number of volumes for the figures that are reported.
    coil_maps
        "stored": the maps in the files; "espirit": estimated from the masked k-space.
    normalization
        What k-space and target of a volume are divided by: "p95", "max" or "std" of the magnitude
        of its zero-filled SENSE images.
    slices
        First and one past the last slice used of each volume; all by default.
    seed
        Changes split and masks; 0 draws fastMRI's masks.
    in_memory
        Keep the finished samples in memory; otherwise the files are read for every sample.

    Raises
    ------
    FileNotFoundError
        When `folder` is missing or has no .h5 file.
    ValueError
        When it has too few volumes, and, once a part is used, as `ScanDataset`.
    """

    def __init__(
        self,
        folder: Path,
        mask: SamplingMask,
        n_train: int,
        n_validation: int,
        n_test: int,
        *,
        coil_maps: CoilMaps = "stored",
        normalization: Normalization = "p95",
        slices: tuple[int, int] | None = None,
        seed: int = 0,
        in_memory: bool = True,
    ) -> None:
        self.folder, self.mask, self.seed = Path(folder), mask, seed
        self.coil_maps: CoilMaps = coil_maps
        self.normalization: Normalization = normalization
        self.slices, self.in_memory = slices, in_memory
        self._parts: dict[str, ScanDataset] = {}
        counts = (
            positive_int("n_test", n_test),
            positive_int("n_validation", n_validation, minimum=0),
            positive_int("n_train", n_train),
        )
        paths = _volumes(self.folder, sum(counts))
        self.test_paths, self.validation_paths, self.train_paths = _split(paths, counts, seed)

    @property
    def spec(self) -> ScanSpec:
        """Matrix, number of coils, and the acceleration achieved on average in the test volumes."""
        return self._spec

    @cached_property
    def _spec(self) -> ScanSpec:
        headers = [read_header(path) for path in self.test_paths]
        shares = []
        for path, header in zip(self.test_paths, headers):
            left, right = header["padding"] or (0, header["shape"][-1])
            mask = self.mask(header["shape"][-2:], volume_mask_seed(path, self.seed))
            shares.append(1 / achieved_acceleration(mask[:, left:right]))
        _, coils, height, width = headers[0]["shape"]
        return ScanSpec((height, width), coils, len(shares) / sum(shares))

    @property
    def train(self) -> ScanDataset:
        """Slices of the training volumes."""
        return self._dataset("train", self.train_paths)

    @property
    def validation(self) -> ScanDataset | None:
        """Slices of the validation volumes; None when `n_validation` is 0."""
        if not self.validation_paths:
            return None
        return self._dataset("validation", self.validation_paths)

    @property
    def test(self) -> ScanDataset:
        """Slices of the test volumes."""
        return self._dataset("test", self.test_paths)

    def _dataset(self, part: str, paths: Sequence[Path]) -> ScanDataset:
        """Read a part when it is first used, and keep it."""
        if part not in self._parts:
            self._parts[part] = ScanDataset(
                paths,
                self.mask,
                coil_maps=self.coil_maps,
                normalization=self.normalization,
                slices=self.slices,
                seed=self.seed,
                in_memory=self.in_memory,
            )
        return self._parts[part]


def _volumes(folder: Path, n_wanted: int) -> list[Path]:
    """Return the .h5 files of a folder; FileNotFoundError or ValueError when there are too few."""
    command = f"monarch-sciml generate scans --output {folder} --n_scans {n_wanted}"
    remedy = f"Check the path, or simulate scans: {command}."
    if not folder.is_dir():
        raise FileNotFoundError(message("the folder of scans must exist", folder, remedy))
    paths = sorted(folder.glob("*.h5"))
    if not paths:
        rule = f"{folder} must hold .h5 files in fastMRI layout"
        raise FileNotFoundError(message(rule, "none", remedy))
    return paths


def _split(paths: Sequence[Path], counts: Sequence[int], seed: int) -> list[list[Path]]:
    """Return parts of the given sizes; volumes of one subject never lie in two of them."""
    subjects: dict[str, list[Path]] = {}
    for path in paths:
        subject = read_header(path)["attributes"].get("patient_id")
        subjects.setdefault(str(subject or path.name), []).append(path)

    def rank(subject: str) -> str:
        return hashlib.sha256(f"{seed} {subject}".encode()).hexdigest()

    order = iter(sorted(subjects, key=rank))
    parts: list[list[Path]] = []
    for count in counts:
        part: list[Path] = []
        while len(part) < count and (subject := next(order, None)) is not None:
            part += subjects[subject]  # of the last subject as many as still fit
        if len(part) < count:
            rule = f"a split into {'/'.join(map(str, counts))} volumes (test/validation/training)"
            got = f"{len(paths)} volumes of {len(subjects)} subjects"
            remedy = "Lower the counts or add scans: monarch-sciml generate scans."
            raise ValueError(message(f"{rule} needs more subjects", got, remedy))
        parts.append(part[:count])
    return parts
