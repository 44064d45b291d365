"""Siemens raw data (twix, meas_*.dat), VB to XA, through the package twixtools."""

# Legend: r readouts, b readouts of one block, c coils, n samples of a readout.

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from monarch_sciml.data.scans.raw.readouts import (
    CALIBRATION,
    IMAGING,
    NOISE,
    OTHER,
    ROW,
    Geometry,
    Repetition,
    Table,
)
from monarch_sciml.data.scans.raw.to_scan import scan_of
from monarch_sciml.data.scans.raw.twix_files import measurements_of
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.slices import Slices

COUNTERS = {"line": "Lin", "partition": "Par", "slice": "Sli", "contrast": "Eco"} | {
    "repetition": "Rep",
    "phase": "Phs",
    "set": "Set",
}
OTHER_FLAGS = (
    *("RTFEEDBACK", "HPFEEDBACK", "PHASCOR", "PHASESTABSCAN", "REFPHASESTABSCAN", "MDH_VOP"),
    *("noname60",),  # navigators in free induction decays
)
RECEIVER_BANDWIDTH = 0.793
"""Noise bandwidth of a Siemens receiver over 1 / dwell time, as siemens_to_ismrmrd writes it."""


def read_twix(
    path: str | Path,
    *,
    slices: Slices = None,
    contrast: int = 0,
    repetition: Repetition = 0,
    prewhiten: bool = False,
    limit: int | None = None,
) -> Scan:
    """Read Cartesian k-space of the last measurement in a Siemens .dat file.

    Noise, phase-correction, navigator and feedback readouts are told apart by their flags, readout
    oversampling is removed, averages and segments are put together.

    Parameters
    ----------
    path
        The .dat file.
    slices
        Which slices to read, in the order of their positions along the slice normal (feet to head,
        back to front or right to left); all by default. Of a 3-D scan, which readout positions.
    contrast
        Number of the echo, the first by default.
    repetition
        Number of the repetition, the first by default, or "average" for the complex mean of all.
    prewhiten
        Decorrelate the coils by the noise readouts of any measurement in the file.
    limit
        Read the samples of at most so many readouts, those nearest the centre of k-space.

    Returns
    -------
    Scan
        As `read_ismrmrd`.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When twixtools is not installed; when the file is truncated or foreign; when there is no
        such contrast or repetition, or no noise to prewhiten by.

    Notes
    -----
    The oversampling factor is the header's `flReadoutOSFactor` (1 for Pulseq, whose sequences are
    written without), 2 where it is silent. Where no centre line is given (Pulseq again) the lines
    are taken to be centred. Ramp sampling is not regridded and the phase correction of EPI not
    applied: `notes` says so.
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
    )


def _table(path: Path) -> Table:
    """Read the headers of all readouts."""
    measurements = measurements_of(path)
    image = measurements[-1]["mdb"]
    noise = [b for m in measurements[:-1] for b in m["mdb"] if b.is_flag_set("NOISEADJSCAN")]
    blocks = [*noise, *image]
    dwell = [_dwell(m["hdr"]) for m in measurements]
    rows = np.zeros(len(blocks), ROW)
    for row, block in zip(rows, blocks):
        _fill(row, block)
    rows["dwell"] = dwell[-1]
    rows["dwell"][: len(noise)] = dwell[0]
    header = measurements[-1]["hdr"]
    table = Table(path.name, rows, Geometry(1, 1, 1, 1, (0, 0)), lambda n: _load(blocks, n))
    table.bandwidth = RECEIVER_BANDWIDTH
    table.geometry = _geometry(blocks, rows, header)
    table.header = _header(header, table.geometry)
    if any(block.is_flag_set("PHASCOR") for block in image):
        table.note("phase-correction readouts are not applied: EPI shows ghosts")
    regrid = header.get("Meas", {}).get("alRegridMode")
    if regrid is not None and np.atleast_1d(regrid)[0] > 1:
        table.note("ramp-sampled readouts are not regridded: expect blurring along the readout")
    _sort_slices(blocks, rows, header)
    return table


def _fill(row: Any, block: Any) -> None:
    """Write the header of one readout into its row."""
    head = block.mdh
    for name, counter in COUNTERS.items():
        row[name] = getattr(head.Counter, counter)
    row["samples"], row["coils"], row["center"] = (
        head.SamplesInScan,
        head.UsedChannels,
        head.CenterCol,
    )
    row["reverse"] = block.is_flag_set("REFLECT")
    reference = block.is_flag_set("PATREFSCAN") and not block.is_flag_set("PATREFANDIMASCAN")
    row["kind"] = CALIBRATION if reference else IMAGING
    if any(block.is_flag_set(flag) for flag in OTHER_FLAGS):
        row["kind"] = OTHER
    if block.is_flag_set("NOISEADJSCAN"):
        row["kind"] = NOISE


def _geometry(blocks: list[Any], rows: np.ndarray, header: dict[str, Any]) -> Geometry:
    """Return the matrix that holds every imaging readout, zero-padded as the header says."""
    imaging = np.flatnonzero(rows["kind"] == IMAGING)
    if not len(imaging):
        return Geometry(1, 1, 1, 1, (0, 0))  # `place` says that there is no imaging readout
    head, row = blocks[imaging[0]].mdh, rows[imaging[0]]
    sizes = header.get("MeasYaps", {}).get("sKSpace", {})
    factor = _oversampling(header)
    center = int(row["center"]) or int(row["samples"]) // 2
    readout = _smallest(center, int(row["samples"]) - center)
    step = 2 * round(factor)  # of an even number of pixels, each of `factor` samples
    readout = -(-readout // step) * step if factor > 1 else readout
    line, lines = _encoding(rows["line"][imaging], head.CenterLin, sizes.get("lPhaseEncodingLines"))
    volume = bool((rows["partition"][imaging] > 0).any())
    partition, partitions = (0, 1)
    if volume:
        values = rows["partition"][imaging]
        partition, partitions = _encoding(values, head.CenterPar, sizes.get("lPartitions"))
    return Geometry(readout, round(readout / factor), lines, partitions, (line, partition))


def _encoding(counters: np.ndarray, center: int, stated: Any) -> tuple[int, int]:
    """Return the counter at the centre and the size of one phase-encoding axis."""
    seen = int(counters.max()) + 1
    if center == 0:  # not set
        return seen // 2, seen
    return int(center), max(int(stated or 0), _smallest(int(center), seen - int(center)))


def _smallest(before: int, after: int) -> int:
    """Return the smallest N that has `before` places below N // 2 and `after` from it on."""
    return max(2 * before, 2 * after - 1)


def _oversampling(header: dict[str, Any]) -> float:
    for section in ("Dicom", "Meas"):
        value = header.get(section, {}).get("flReadoutOSFactor")
        if isinstance(value, int | float) and value >= 1:
            return float(value)
    return 2.0


def _dwell(header: dict[str, Any]) -> float:
    """Return the time of a sample in ns, 0 where the header is silent."""
    times = header.get("MeasYaps", {}).get("sRXSPEC", {}).get("alDwellTime", [0])
    value = np.atleast_1d(times)[0] if np.size(times) else 0
    return float(value or 0)


def _slice_of(header: dict[str, Any]) -> dict[str, Any]:
    return (header.get("MeasYaps", {}).get("sSliceArray", {}).get("asSlice") or [{}])[0]


def _header(header: dict[str, Any], geometry: Geometry) -> dict[str, Any]:
    """Return the header entries that the protocol gives."""
    first, protocol = _slice_of(header), header.get("MeasYaps", {})
    fov = [float(first.get(name, 0)) for name in ("dReadoutFOV", "dPhaseFOV", "dThickness")]
    found: dict[str, Any] = {
        "format": "Siemens twix",
        "acquisition": protocol.get("tProtocolName"),
        "attributes": {"sequence": protocol.get("tSequenceFileName")},
    }
    if min(fov) > 0:
        sizes = (geometry.kept, geometry.lines, geometry.partitions)
        row, column, thickness = (length / n for length, n in zip(fov, sizes))
        volume = geometry.partitions > 1
        found["voxel_size"] = (row, column, thickness) if volume else (thickness, row, column)
    return found


def _sort_slices(blocks: list[Any], rows: np.ndarray, header: dict[str, Any]) -> None:
    """Number slices by their position: the scanner numbers them by time."""
    imaging = np.flatnonzero(rows["kind"] == IMAGING)
    values, first = np.unique(rows["slice"][imaging], return_index=True)
    if len(values) < 2:
        return
    normal = _slice_of(header).get("sNormal", {})
    direction = np.array([float(normal.get(axis, 0)) for axis in ("dSag", "dCor", "dTra")])
    if not direction.any():
        return
    direction *= np.sign(direction[np.abs(direction).argmax()])
    heads = [blocks[imaging[i]].mdh.SliceData.SlicePos for i in first]
    positions = np.array([[at.Sag, at.Cor, at.Tra] for at in heads]) @ direction
    rank = np.argsort(np.argsort(positions, kind="stable"))
    new = dict(zip(values.tolist(), rank.tolist()))
    rows["slice"] = [new.get(number, number) for number in rows["slice"].tolist()]


def _load(blocks: list[Any], numbers: np.ndarray) -> np.ndarray:
    """Return the samples (b, c, n) of readouts; each opens and closes the file."""
    return np.stack([blocks[number].data for number in numbers.tolist()])
