"""Read the k-space positions of all readouts from Pulseq sequence files (.seq) with pypulseq."""

# Letters: r readouts, n samples of a readout, e excitations.

from __future__ import annotations

import traceback
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from monarch_sciml._checks import message, optional_package
from monarch_sciml._reading import cause_of, existing_file


@dataclass(frozen=True)
class SequenceReadouts:
    """Describe the readouts of a sequence file in the order of acquisition.

    Attributes
    ----------
    name
        Name of the file, for messages.
    positions
        r arrays (n, 3): k-space along the axes of the gradients, in 1/m.
    excitation
        (r,) number of the excitation before each readout; 0 before the first.
    slice_position
        Position (r,) of the excited slice along its normal in m, 0 for pulses without a gradient.
    normal
        (3,) unit vector across the slices; zeros where pulses have no gradient.
    field_of_view
        Field of view (3,) in m as the file defines it, otherwise zeros.
    labels
        Values (r,) of the labels that the sequence sets, such as SLC, ECO, REP, NAV and REF.
    """

    name: str
    positions: list[np.ndarray]
    excitation: np.ndarray
    slice_position: np.ndarray
    normal: np.ndarray
    field_of_view: np.ndarray
    labels: dict[str, np.ndarray] = field(default_factory=dict)


def read_sequence(path: str | Path) -> SequenceReadouts:
    """Compute the trajectory of a Pulseq sequence.

    Parameters
    ----------
    path
        The .seq file, of version 1.2 or later.

    Returns
    -------
    SequenceReadouts
        One entry for each event of the analogue-to-digital converter.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When pypulseq is not installed, the file is no sequence or damaged, or it has no readouts.

    Notes
    -----
    Gradient delays and eddy currents of the scanner are not in the file. They cause a shift between
    lines of opposite directions, which the phase correction of EPI removes.

    References
    ----------
    Layton et al., "Pulseq: a rapid and hardware-independent pulse sequence prototyping framework",
    MRM 77 (2017).
    """
    path = existing_file(path)
    stat = path.stat()
    return _read(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)
def _read(path: Path, _size: int, _changed: int) -> SequenceReadouts:
    """Read a file only once, also when its scan is read slice by slice."""
    pulseq = optional_package("pypulseq", "reading Pulseq sequence files", "scanners")
    content = path.read_bytes()
    if b"[VERSION]" not in content[:4096]:
        rule = f"{path.name} must be a Pulseq sequence file"
        remedy = "Pass the .seq file that was measured."
        raise ValueError(message(rule, "no section [VERSION]", remedy))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"), TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")  # on files of older versions
            # pypulseq never stops where a file is cut off within a shape: it needs a blank line
            # after the samples, or text that is no number in their place
            copy = Path(folder) / "sequence.seq"
            copy.write_bytes(content + b"\n\n[SIGNATURE]\n\n")
            sequence = pulseq.Sequence()
            try:
                # None: of files before 1.5, which do not say so, tell excitation from refocusing
                sequence.read(str(copy), detect_rf_use=None)
            except Exception as error:
                traceback.clear_frames(error.__traceback__)  # closes the file, as pypulseq does not
                raise
            return _readouts(sequence, path.name)
    except Exception as error:  # pypulseq raises almost anything on a damaged file
        if isinstance(error, ValueError) and path.name in str(error):
            raise
        rule = f"{path.name} must be a complete Pulseq sequence file"
        raise ValueError(
            message(rule, cause_of(error), "Copy it again, or write it again.")
        ) from error


def _readouts(sequence: Any, name: str) -> SequenceReadouts:
    """Return the readouts of a sequence that was read."""
    trajectory, _, excitations, _, times = sequence.calculate_kspace()
    blocks = (sequence.get_block(number) for number in sequence.block_events)
    counts = [int(block.adc.num_samples) for block in blocks if block.adc is not None]
    if not counts:
        rule = f"{name} must acquire data"
        raise ValueError(message(rule, "a sequence without readouts", "Pass another sequence."))
    ends = np.cumsum(counts)
    if not np.isfinite(trajectory).all() or trajectory.shape[1] != ends[-1]:
        raise ValueError("a trajectory that is not finite")
    starts = times[ends - counts]
    excitation = np.maximum(np.searchsorted(excitations, starts) - 1, 0)
    position, normal = _slices(sequence, excitation)
    labels = sequence.evaluate_labels(evolution="adc")
    defined = np.ravel(sequence.definitions.get("FOV", np.zeros(3)))
    field_of_view = np.zeros(3)
    field_of_view[: len(defined)] = np.asarray(defined, float)[:3]
    return SequenceReadouts(
        name,
        np.split(trajectory.T, ends[:-1]),
        excitation,
        position,
        normal,
        field_of_view,
        {label: np.asarray(values) for label, values in labels.items()},
    )


def _slices(sequence: Any, excitation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of the excited slice (r,) and its normal (3,).

    A pulse whose frequency is f Hz off excites the plane at f / |g| along its gradient g in Hz/m.
    """
    times, offsets, _, _ = sequence.rf_times()
    if not len(times):
        return np.zeros(len(excitation)), np.zeros(3)
    gradients = sequence.get_gradients()
    zero = np.zeros(len(times))
    # (e, 3): the gradient at the centre of each pulse
    gradient = np.stack([zero if g is None else np.nan_to_num(g(times)) for g in gradients], axis=1)
    strength = np.linalg.norm(gradient, axis=1)
    selective = strength > 1e-6 * max(float(strength.max()), 1.0)
    position = np.where(selective, offsets[0] / np.where(selective, strength, 1.0), 0.0)
    used = np.unique(excitation)
    used = used[selective[used]]
    if not len(used):
        return np.zeros(len(excitation)), np.zeros(3)
    normal = gradient[used[0]] / strength[used[0]]
    sign = np.sign(normal[np.abs(normal).argmax()])  # positions rise along the axis
    along = gradient @ normal >= 0
    position = np.where(along, position, -position) * sign
    return position[excitation], normal * sign
