"""Data module of MRI scans: a folder of volumes, split by subject, undersampled on the fly."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from monarch_sciml._checks import message, positive_int
from monarch_sciml._signatures import parameters_of
from monarch_sciml.data.scans.maps import CoilMaps
from monarch_sciml.data.scans.samples import ScanDataset
from monarch_sciml.data.scans.scale import ScanNormalization
from monarch_sciml.data.scans.sizes import Resize, SizeRules
from monarch_sciml.data.scans.source import ScanFile, open_scan, scan_files
from monarch_sciml.data.spec import DataModule, ScanSpec
from monarch_sciml.physics.sampling import SamplingMask, achieved_acceleration


@parameters_of(ScanDataset)
class ScanModule(DataModule):
    """Undersample the volumes of a folder and split them by subject.

    The split depends on file names, subjects and `seed` alone: subjects are put into a fixed
    pseudo-random order, from which test, then validation, then training volumes are taken. So
    the test volumes stay the same when the other numbers change, the training volumes of a small
    `n_train` are the first of those of a larger one (1, 2, 3, 5 scans are nested), and no subject
    (the attribute `patient_id` of a file) is in two parts. Every volume has one fixed mask, drawn
    from its file name, in all epochs and runs.

    Parameters
    ----------
    folder
        Folder of scans in any format that `read_scan` knows.
    mask
        Sampling mask by which k-space is undersampled.
    n_train
        Number of volumes to train on; 0 for data that are only tested on.
    n_validation
        Number of volumes to choose the best checkpoint with; 0 for none.
    n_test
        Number of volumes for the reported figures.
    pattern
        Pattern of the names of files to use, such as `*.cfl`.
    matrix
        Size (H, W) to which every slice is cut or padded. None leaves slices as they are.
    resize
        Whether `matrix` cuts and pads the "image" (pixels keep their size) or "kspace" (the field
        of view stays).
    remove_oversampling
        Whether to remove first the outer half of the field of view along the readout (H).
    coils
        Number of virtual coils to which the coils of every slice are compressed. None leaves coils
        as they are.
    seed
        Seed of the split and of the masks. 0 draws fastMRI's masks.

    Raises
    ------
    FileNotFoundError
        When `folder` is missing or has no scans.
    ValueError
        When the folder has too few volumes or a file cannot be read (the message names it), and,
        once a part is used, when `ScanDataset` raises it.
    """

    def __init__(
        self,
        folder: Path,
        mask: SamplingMask,
        n_train: int,
        n_validation: int,
        n_test: int,
        *,
        pattern: str = "*",
        coil_maps: CoilMaps = "stored",
        n_maps: int = 1,
        maps_folder: Path | None = None,
        normalization: ScanNormalization = "p95",
        slices: tuple[int, int] | None = None,
        matrix: tuple[int, int] | None = None,
        resize: Resize = "image",
        remove_oversampling: bool = False,
        coils: int | None = None,
        group_sizes: bool = False,
        seed: int = 0,
        in_memory: bool = True,
        reader: dict[str, Any] | None = None,
    ) -> None:
        self.folder, self.mask, self.seed = Path(folder), mask, seed
        self.coil_maps: CoilMaps = coil_maps
        self.normalization: ScanNormalization = normalization
        self.slices, self.in_memory, self.reader = slices, in_memory, reader
        self.n_maps, self.maps_folder, self.group_sizes = n_maps, maps_folder, group_sizes
        self.rules = SizeRules(matrix, resize, remove_oversampling, coils)
        self._parts: dict[str, ScanDataset] = {}
        counts = (
            positive_int("n_test", n_test),
            positive_int("n_validation", n_validation, minimum=0),
            positive_int("n_train", n_train, minimum=0),
        )
        files = [open_scan(path, reader) for path in _paths(self.folder, pattern, sum(counts))]
        self._files = {file.path: file for file in files}
        self.test_paths, self.validation_paths, self.train_paths = _split(files, counts, seed)

    @property
    def spec(self) -> ScanSpec:
        """Matrix, number of coils, and the acceleration achieved on average in the test volumes.

        If volumes differ in size, matrix and coils are those of most training volumes, or of most
        test volumes where there is nothing to train on.
        """
        return self._spec

    @cached_property
    def _spec(self) -> ScanSpec:
        shares = []
        for path in self.test_paths:
            facts = self._files[path].facts
            shape = self.rules.shape(facts)
            rows, columns = encoded = self.rules.encoded(facts)
            mask = self.mask.for_volume(path, shape, self.seed, encoded=encoded)
            shares.append(1 / achieved_acceleration(mask[slice(*rows), slice(*columns)]))
        paths = self.train_paths or self.test_paths
        shapes = Counter(self.rules.shape(self._files[path].facts) for path in paths)
        coils, height, width = max(shapes, key=lambda shape: (shapes[shape], shape))
        found = [self._files[path].facts.noise for path in self.test_paths]
        levels = [level for level in found if level is not None]
        noise = sum(levels) / len(levels) if levels else None
        rate, family = len(shares) / sum(shares), type(self.mask).__name__
        return ScanSpec((height, width), coils, rate, noise, family)

    @property
    def train(self) -> ScanDataset:
        """Slices of the training volumes; ValueError when `n_train` is 0."""
        if not self.train_paths:
            rule = "`n_train` must be at least 1 to use the training volumes"
            raise ValueError(message(rule, 0, "Raise `n_train`."))
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
        """Read a part at its first use, and keep it."""
        if part not in self._parts:
            self._parts[part] = ScanDataset(
                [self._files[path] for path in paths],
                self.mask,
                coil_maps=self.coil_maps,
                n_maps=self.n_maps,
                maps_folder=self.maps_folder,
                normalization=self.normalization,
                slices=self.slices,
                rules=self.rules,
                group_sizes=self.group_sizes,
                seed=self.seed,
                in_memory=self.in_memory,
            )
        return self._parts[part]


def _paths(folder: Path, pattern: str, n_wanted: int) -> list[Path]:
    """Return the scans of a folder; FileNotFoundError when there are none."""
    try:
        return scan_files(folder, pattern)
    except FileNotFoundError as error:
        command = f"monarch-sciml generate scans --output {folder} --n_scans {n_wanted}"
        raise FileNotFoundError(f"{error} Or simulate scans: {command}.") from error


def _split(files: Sequence[ScanFile], counts: Sequence[int], seed: int) -> list[list[Path]]:
    """Return parts of the given sizes, without a subject that is in two of them."""
    subjects: dict[str, list[Path]] = {}
    for file in files:
        subjects.setdefault(file.facts.subject, []).append(file.path)

    def rank(subject: str) -> str:
        return hashlib.sha256(f"{seed} {subject}".encode()).hexdigest()

    order = iter(sorted(subjects, key=rank))
    parts: list[list[Path]] = []
    for count in counts:
        part: list[Path] = []
        while len(part) < count and (subject := next(order, None)) is not None:
            part += subjects[subject]  # as many volumes of the last subject as still fit
        if len(part) < count:
            rule = f"a split into {'/'.join(map(str, counts))} volumes (test/validation/training)"
            got = f"{len(files)} volumes of {len(subjects)} subjects"
            remedy = "Lower the counts or add scans: monarch-sciml generate scans."
            raise ValueError(message(f"{rule} needs more subjects", got, remedy))
        parts.append(part[:count])
    return parts
