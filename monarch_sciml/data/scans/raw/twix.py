"""Siemens raw data (twix, meas_*.dat), VB to XA, through the package twixtools."""

# Letters: r readouts, b readouts of one block, c coils, n samples of a readout.

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from monarch_sciml._signatures import parameters_of
from monarch_sciml.data.scans.raw.ismrmrd import read_ismrmrd
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
    smallest_matrix,
)
from monarch_sciml.data.scans.raw.regrid import Ramps
from monarch_sciml.data.scans.raw.slice_positions import slice_distance, sort_slices
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
    *("RTFEEDBACK", "HPFEEDBACK", "PHASESTABSCAN", "REFPHASESTABSCAN", "MDH_VOP"),
    *("noname60",),  # navigators in free induction decays
)
RAMPS = (
    *("alRegridMode", "alRegridRampupTime", "alRegridFlattopTime", "alRegridRampdownTime"),
    *("alRegridDelaySamplesTime", "aflRegridADCDuration"),
)
"""What the header says of readouts on gradient ramps: the mode, then times in us."""
EVEN, TRAPEZOID = 1, 2
"""Modes of regridding; 4 is a sinusoidal gradient."""
RECEIVER_BANDWIDTH = 0.793
"""Noise bandwidth of a Siemens receiver over 1 / dwell time, as siemens_to_ismrmrd writes it."""


@parameters_of(read_ismrmrd)
def read_twix(
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
    """Read Cartesian k-space of the last measurement in a Siemens .dat file.

    Noise, phase-correction, navigator and feedback readouts are distinguished by their flags.
    Readout oversampling is removed, and averages and segments are combined. Samples on gradient
    ramps are regridded, and reversed lines of EPI corrected in phase by navigators or a reference
    scan.

    Parameters
    ----------
    path
        The .dat file.
    slices
        Slices to read, by default all, in the order of their positions along the slice normal (feet
        to head, back to front or right to left). For a 3-D scan they are readout positions.
    prewhiten
        Whether to decorrelate the coils by the noise readouts of any measurement in the file.
    reference_scan
        A .dat file of the same sequence without phase encoding.

    Returns
    -------
    Scan
        The scan in the form that `read_ismrmrd` returns.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When twixtools is not installed; when the file is truncated or foreign; when there is no
        such contrast or repetition, or no noise to prewhiten by; when the sequence or the reference
        scan is of another scan.

    Notes
    -----
    The oversampling factor is the header's `flReadoutOSFactor` (1 for Pulseq sequences, which have
    no oversampling), or 2 if the header has none. If no centre line is given, as by Pulseq, the
    lines are assumed to be centred.
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
    table.header = _header(header)
    pulseq = _is_pulseq(header)
    table.order_known = not (pulseq and counts_readouts(rows))
    table.directions = None if pulseq else _directions(blocks, rows)
    table.sizes, table.path = lambda table: _sizes(table, header), path
    _place_on_ramps(table, header)
    sort_slices(table, rising=True)
    return table


def _is_pulseq(header: dict[str, Any]) -> bool:
    protocol = header.get("MeasYaps", {})
    names = [str(protocol.get(name, "")) for name in ("tSequenceFileName", "tProtocolName")]
    return "pulseq" in " ".join(names).lower()


def _place_on_ramps(table: Table, header: dict[str, Any]) -> None:
    """Set the positions of readouts on gradient ramps from the regridding part of the header."""
    settings = header.get("Meas", {})
    values = [np.atleast_1d(settings.get(name, 0)) for name in RAMPS]
    mode, up, flat, down, delay, duration = (float(v[0]) if v.size else 0.0 for v in values)
    imaging = table.rows[table.rows["kind"] == IMAGING]
    if mode <= EVEN or not len(imaging):
        return
    if mode != TRAPEZOID or not duration:
        table.note("ramp-sampled readouts are not regridded: expect blurring along the readout")
        return
    place_on_ramps(table, Ramps(up, flat, down, delay, duration / imaging["samples"][0]))


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
    place = head.SliceData.SlicePos
    row["position"] = place.Sag, place.Cor, place.Tra
    row["reverse"] = block.is_flag_set("REFLECT")
    reference = block.is_flag_set("PATREFSCAN") and not block.is_flag_set("PATREFANDIMASCAN")
    row["kind"] = CALIBRATION if reference else IMAGING
    if block.is_flag_set("PHASCOR"):
        row["kind"] = NAVIGATOR
    if any(block.is_flag_set(flag) for flag in OTHER_FLAGS):
        row["kind"] = OTHER
    if block.is_flag_set("NOISEADJSCAN"):
        row["kind"] = NOISE


def _directions(blocks: list[Any], rows: np.ndarray) -> np.ndarray | None:
    """Return the directions (3, 3) of readout, phase encode and slice from the quaternion (w, x, y,
    z) of the first imaging readout; None where there is none.

    It is the rotation whose columns are phase encode, readout and slice in the patient's
    coordinates, as siemens_to_ismrmrd takes it.
    """
    imaging = np.flatnonzero(rows["kind"] == IMAGING)
    if not len(imaging):
        return None
    quaternion = np.array(blocks[imaging[0]].mdh.SliceData.Quaternion, dtype=np.float64)
    norm = np.linalg.norm(quaternion)
    if not norm > 0:
        return None
    w, *v = quaternion / norm
    x, y, z = v
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + 2 * w * cross + 2 * cross @ cross  # columns: phase, readout, slice
    return rotation[:, [1, 0, 2]].T


def _geometry(blocks: list[Any], rows: np.ndarray, header: dict[str, Any]) -> Geometry:
    """Return the matrix that holds every imaging readout, zero-padded as the header says."""
    imaging = np.flatnonzero(rows["kind"] == IMAGING)
    if not len(imaging):
        return Geometry(1, 1, 1, 1, (0, 0))  # `place` says that there is no imaging readout
    head, row = blocks[imaging[0]].mdh, rows[imaging[0]]
    sizes = header.get("MeasYaps", {}).get("sKSpace", {})
    factor = _oversampling(header)
    center = int(row["center"]) or int(row["samples"]) // 2
    readout = smallest_matrix(center, int(row["samples"]) - center)
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
    return int(center), max(int(stated or 0), smallest_matrix(int(center), seen - int(center)))


def _oversampling(header: dict[str, Any]) -> float:
    for section in ("Dicom", "Meas"):
        value = header.get(section, {}).get("flReadoutOSFactor")
        if isinstance(value, int | float) and value >= 1:
            return float(value)
    return 2.0


def _dwell(header: dict[str, Any]) -> float:
    """Return the time of a sample in ns, or 0 if the header has none."""
    times = header.get("MeasYaps", {}).get("sRXSPEC", {}).get("alDwellTime", [0])
    value = np.atleast_1d(times)[0] if np.size(times) else 0
    return float(value or 0)


def _slice_of(header: dict[str, Any]) -> dict[str, Any]:
    return (header.get("MeasYaps", {}).get("sSliceArray", {}).get("asSlice") or [{}])[0]


def _header(header: dict[str, Any]) -> dict[str, Any]:
    """Return the header entries that follow from the protocol."""
    protocol = header.get("MeasYaps", {})
    return {
        "format": "Siemens twix",
        "acquisition": protocol.get("tProtocolName"),
        "attributes": {"sequence": protocol.get("tSequenceFileName")},
    }


def _sizes(table: Table, header: dict[str, Any]) -> dict[str, Any]:
    """Return the size of voxels in mm.

    The encoded field of view is that of the protocol times one plus the oversampling of phases (of
    partitions in 3-D scans); a voxel is that over the matrix. The distance between slices that were
    acquired separately includes gaps.
    """
    first, geometry = _slice_of(header), table.geometry
    fov = [float(first.get(name, 0)) for name in ("dReadoutFOV", "dPhaseFOV", "dThickness")]
    if min(fov) <= 0:
        return {}
    fov[1] *= 1 + _more(header, "dPhaseOversamplingForDialog")
    row, column = fov[0] / geometry.kept, fov[1] / geometry.lines
    if geometry.partitions > 1:
        fov[2] *= 1 + _more(header, "dSliceOversamplingForDialog")
        return {"voxel_size": (row, column, fov[2] / geometry.partitions)}
    return {"voxel_size": (slice_distance(table) or fov[2], row, column)}


def _more(header: dict[str, Any], name: str) -> float:
    """Return a share of oversampling of the protocol, or 0 if it has none."""
    value = header.get("MeasYaps", {}).get("sKSpace", {}).get(name, 0)
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0


def _load(blocks: list[Any], numbers: np.ndarray) -> np.ndarray:
    """Return the samples (b, c, n) of readouts; each opens and closes the file."""
    return np.stack([blocks[number].data for number in numbers.tolist()])
