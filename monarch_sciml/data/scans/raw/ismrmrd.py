"""ISMRMRD (MRD) raw data in HDF5, read with h5py alone.

The package `ismrmrd` reads one acquisition at a time into an object; h5py reads all headers in one
call and the samples of any readouts in another, needs no further package, and closes the file in
between. The package writes the files that the tests read.
"""

# Letters: r readouts, b readouts of one block, c coils, n samples of a readout.

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml._hdf5_inspection import ROWS
from monarch_sciml._inspection import call_apart
from monarch_sciml._memory import check_array
from monarch_sciml.data.hdf5 import open_hdf5, part
from monarch_sciml.data.scans.formats.hdf5_kinds import acquisitions_of, expect_format
from monarch_sciml.data.scans.formats.ismrmrd_header import (
    EncodingSpace,
    encoding_spaces,
    noise_bandwidth,
)
from monarch_sciml.data.scans.raw.lines import place_on_ramps
from monarch_sciml.data.scans.raw.readouts import (
    CALIBRATION,
    IMAGING,
    NAVIGATOR,
    NOISE,
    OTHER,
    ROW,
    Geometry,
    Repetition,
    Table,
    counts_readouts,
)
from monarch_sciml.data.scans.raw.slice_positions import slice_distance, sort_slices
from monarch_sciml.data.scans.raw.to_scan import scan_of
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.slices import Slices

NOISE_FLAG, CALIBRATION_FLAG, CALIBRATION_AND_IMAGING_FLAG, REVERSE_FLAG = 19, 20, 21, 22
PHASE_CORRECTION_FLAG = 24
OTHER_FLAGS = (23, 26, 27, 28, 29, 30, 31)
"""Navigator, feedback, dummy, surface-coil correction, phase stabilisation."""

COUNTERS = {
    "line": "kspace_encode_step_1",
    "partition": "kspace_encode_step_2",
    **{name: name for name in ("slice", "contrast", "repetition", "phase", "set")},
}
FIELDS = {
    "samples": "number_of_samples",
    "coils": "active_channels",
    "center": "center_sample",
    "before": "discard_pre",
    "after": "discard_post",
    "dwell": "sample_time_us",
}


def read_ismrmrd(
    path: str | Path,
    *,
    slices: Slices = None,
    contrast: int = 0,
    repetition: Repetition = 0,
    prewhiten: bool = False,
    sequence: str | Path | None = None,
    reference_scan: str | Path | None = None,
    limit: int | None = None,
) -> Scan:
    """Read Cartesian k-space from an ISMRMRD file.

    Noise, navigator and other readouts without an image are distinguished by their flags. Readout
    oversampling is removed, lines are placed at step_1 + N_y // 2 - center, readouts are shifted by
    center_sample, and reversed ones are flipped. Averages and segments are combined. Samples on
    gradient ramps are regridded, and reversed lines of EPI corrected in phase by navigators or a
    reference scan. The mask holds the acquired lines.

    Parameters
    ----------
    path
        The .h5 (or .mrd) file.
    slices
        Slices to read, by default all. For a 3-D scan they are readout positions.
    contrast
        Number of the contrast or echo, the first by default.
    repetition
        Number of the repetition, the first by default, or "average" for the complex mean of all.
    prewhiten
        Whether to decorrelate the coils and scale their noise to variance 1 by the noise readouts.
    sequence
        The Pulseq file (.seq) that was measured, to place readouts by its trajectory.
    reference_scan
        An ISMRMRD file of the same sequence without phase encoding.
    limit
        Largest number of readouts whose samples are read, those nearest the centre of k-space.

    Returns
    -------
    Scan
        H is the readout and W is step 1. Slices of a 3-D scan are readout positions, (H, W) are
        then steps 1 and 2, and `transformed` is ("readout",). `calibration_kspace` holds lines
        that were acquired for calibration alone. The header has `voxel_size` and
        `orientation`. Not validated.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is truncated, foreign, non-Cartesian, without imaging readouts, with readouts of
        several sizes or lines far outside its matrix; when there is no such contrast or repetition,
        or no noise to prewhiten by; when the sequence or the reference scan is of another scan.

    Notes
    -----
    The memory needed is that of the slices that are read, 398 bytes per readout for the headers,
    and 256 readouts. For a slice of a 3-D scan all readouts of its volume are read, but not kept.

    References
    ----------
    Inati et al., "ISMRM Raw Data Format", MRM 77 (2017); flag n is bit n - 1.
    """
    path = Path(path)
    return scan_of(
        _table(path),
        path,
        slices=slices,
        contrast=contrast,
        repetition=repetition,
        prewhiten=prewhiten,
        limit=limit,
        sequence=sequence,
        reference=None if reference_scan is None else _table(Path(reference_scan)),
    )


def _table(path: Path) -> Table:
    """Read the headers of a file."""
    with open_hdf5(path) as file:
        expect_format(file, "ismrmrd")
        group: Any = acquisitions_of(file)
        xml = part(group["xml"]).reshape(-1)[:1]
        heads = _heads(group["data"], path)
    if not len(xml):
        rule = f"{path} must hold the header of an ISMRMRD file"
        raise ValueError(message(rule, "an empty `xml`", "Export the scan again."))
    xml = xml[0]
    spaces = encoding_spaces(xml)
    rows = _rows(heads)
    imaging = rows["kind"] == IMAGING
    used = np.unique(heads["encoding_space_ref"][imaging])
    space = spaces[int(used[0])] if len(used) and used[0] < len(spaces) else spaces[0]
    if space.trajectory not in ("cartesian", "epi"):
        rule = f"{path} must be a Cartesian scan"
        remedy = "Grid it first, for example with BART."
        raise ValueError(message(rule, f"trajectory {space.trajectory!r}", remedy))
    if len(used) > 1:  # another encoding, for example a calibration scan of another matrix
        rows["kind"][imaging & (heads["encoding_space_ref"] != used[0])] = OTHER
    table = Table(
        path.name,
        rows,
        _geometry(space),
        lambda numbers: _load(path, numbers, len(rows)),
        noise_bandwidth(xml),
        {"format": "ISMRMRD", "attributes": {"trajectory": space.trajectory}},
    )
    table.sizes, table.path = lambda table: _sizes(table, space), path
    text = xml.decode(errors="replace") if isinstance(xml, bytes) else str(xml)
    pulseq = "pulseq" in text.lower()
    table.order_known = not (pulseq and counts_readouts(rows))
    if space.ramps is not None:
        place_on_ramps(table, space.ramps)
    sort_slices(table, rising=False)
    table.directions = None if pulseq else _directions(heads, imaging)
    if _center_unset(space):
        table.note("the header gives no centre line: lines are taken to be centred")
    return table


def _heads(data: Any, path: Path) -> np.ndarray:
    """Return the acquisition headers (r,), without the samples."""
    if data.dtype.names is None or "head" not in data.dtype.names or not len(data):
        rule = f"{path} must hold ISMRMRD acquisitions"
        raise ValueError(message(rule, f"{data.shape} {data.dtype}", "Export the scan again."))
    check_array(path, "the acquisition headers", data.shape, data.dtype["head"].itemsize)
    heads = data.fields("head")[()]
    missing = ({*FIELDS.values()} | {"flags", "idx"}) - {*heads.dtype.names}
    if missing:
        rule = f"the acquisition headers of {path} must be those of ISMRMRD"
        raise ValueError(message(rule, f"none of {sorted(missing)}", "Export the scan again."))
    return heads


def _rows(heads: np.ndarray) -> np.ndarray:
    """Return the table (r,) of dtype `ROW`."""
    rows = np.zeros(len(heads), ROW)
    for name, counter in COUNTERS.items():
        rows[name] = heads["idx"][counter]
    for name, entry in FIELDS.items():
        rows[name] = heads[entry]
    calibration = _flag(heads, CALIBRATION_FLAG) & ~_flag(heads, CALIBRATION_AND_IMAGING_FLAG)
    rows["kind"][calibration] = CALIBRATION
    rows["kind"][_flag(heads, PHASE_CORRECTION_FLAG)] = NAVIGATOR
    if "position" in (heads.dtype.names or ()):
        stated = np.isfinite(heads["position"]).all(axis=1)
        rows["position"][stated] = heads["position"][stated]
    for number in OTHER_FLAGS:
        rows["kind"][_flag(heads, number)] = OTHER
    rows["kind"][_flag(heads, NOISE_FLAG)] = NOISE
    rows["reverse"] = _flag(heads, REVERSE_FLAG)
    return rows


def _directions(heads: np.ndarray, imaging: np.ndarray) -> np.ndarray | None:
    """Return the directions (3, 3) of readout, phase encode and slice; None where not stated."""
    names = ("read_dir", "phase_dir", "slice_dir")
    if not {*names} <= {*(heads.dtype.names or ())} or not imaging.any():
        return None
    first = heads[int(np.flatnonzero(imaging)[0])]
    return np.nan_to_num(np.array([first[name] for name in names], np.float64), posinf=0, neginf=0)


def _flag(heads: np.ndarray, number: int) -> np.ndarray:
    """Return which readouts (r,) have a flag."""
    return (heads["flags"] & np.uint64(1 << (number - 1))) != 0


def _geometry(space: EncodingSpace) -> Geometry:
    """Return the matrix of an encoding."""
    x, y, z = space.matrix
    line, partition = space.center
    kept = min(x, max(1, round(x / max(space.oversampling, 1.0))))
    line = y // 2 if line is None or _center_unset(space) else line
    center = (line, z // 2 if partition is None else partition)
    return Geometry(x, kept, y, z, center)


def _center_unset(space: EncodingSpace) -> bool:
    """Return whether the centre line is given as 0 although the lines would then leave the
    matrix.
    """
    lines = space.matrix[1]
    return space.center[0] == 0 and space.maximum is not None and space.maximum >= -(-lines // 2)


def _sizes(table: Table, space: EncodingSpace) -> dict[str, Any]:
    """Return the header entries that follow from the sizes of an encoding.

    If readouts state positions, the distance between slices includes gaps.
    """
    geometry = table.geometry
    volume = geometry.partitions > 1
    (x, y, z), fov = space.recon_matrix, space.recon_fov
    sizes: dict[str, Any] = {"recon_matrix": (y, z) if volume else (x, y)}
    if min(space.fov) > 0 and min(fov) > 0:
        row, column = fov[0] / geometry.kept, space.fov[1] / geometry.lines
        depth = space.fov[2] / geometry.partitions
        distance = slice_distance(table) or depth
        sizes["voxel_size"] = (row, column, depth) if volume else (distance, row, column)
    maximum = space.maximum
    if maximum is not None and not volume:
        first = geometry.lines // 2 - geometry.center[0]
        empty = min(first, geometry.lines - 1 - (first + maximum))  # at both ends: zero-padding
        if empty > 0:
            sizes["padding"] = (empty, geometry.lines - empty)
    return sizes


def _load(path: Path, numbers: np.ndarray, n_readouts: int) -> np.ndarray:
    """Return the samples (b, c, n) of readouts that all have the same c and n.

    `open_hdf5` looks through the first and last thousand lists of samples. Others are read in the
    other process, because HDF5 crashes on some damaged lists.
    """
    seen = (numbers < ROWS) | (numbers >= n_readouts - ROWS)
    return _samples(path, numbers) if seen.all() else call_apart(_samples, path, numbers)


def _samples(path: Path, numbers: np.ndarray) -> np.ndarray:
    with open_hdf5(path) as file:
        group: Any = acquisitions_of(file)
        data = group["data"]
        heads = data.fields("head")[numbers[:1]]
        values = data.fields("data")[numbers]
    n_coils, samples = int(heads["active_channels"][0]), int(heads["number_of_samples"][0])
    short = [len(value) for value in values if len(value) != 2 * n_coils * samples]
    if short:
        rule = f"the readouts of {path.name} must hold {samples} samples of {n_coils} coils"
        raise ValueError(message(rule, f"{short[0]} numbers", "Export the scan again."))
    flat = np.stack(values).astype(np.float32, copy=False)  # (b, c·n·2): re, im interleaved
    return np.ascontiguousarray(flat).view(np.complex64).reshape(len(flat), n_coils, samples)
