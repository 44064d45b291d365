"""BART's .cfl/.hdr pair: little-endian complex64, column-major, up to 16 axes."""

# Letters: x, y, z BART axes 0, 1, 2 (READ, PHS1, PHS2); c coils (axis 3); s slices (axis 13);
# H, W the two spatial axes in use; t repetitions, e contrasts.

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import torch

from monarch_sciml._checks import message
from monarch_sciml._files import whole_file
from monarch_sciml._memory import check_array
from monarch_sciml._reading import existing_file
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.series import from_corner, picked
from monarch_sciml.data.scans.slices import Slices, resolve

AXES = (
    *("READ", "PHS1", "PHS2", "COIL", "MAPS", "TE", "COEFF", "COEFF2"),
    *("ITER", "CSHIFT", "TIME", "TIME2", "LEVEL", "SLICE", "AVG", "BATCH"),
)
COIL, SLICE = AXES.index("COIL"), AXES.index("SLICE")
CONTRAST, REPETITION = AXES.index("TE"), AXES.index("TIME")


def pair_of(path: str | Path) -> tuple[Path, Path]:
    """Return the .hdr and the .cfl path of a pair named by either of them or by their common stem.

    Only the suffixes .hdr and .cfl are removed, so `scan.v2` stands for scan.v2.hdr and
    scan.v2.cfl.
    """
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".cfl", ".hdr") else path
    return stem.with_name(stem.name + ".hdr"), stem.with_name(stem.name + ".cfl")


def is_pair(path: Path) -> bool:
    """Return whether a path names a pair: by one of its endings, or as the stem of a header."""
    return path.suffix in (".cfl", ".hdr") or (not path.exists() and pair_of(path)[0].exists())


def check_pair(path: Path) -> None:
    """Raise FileNotFoundError when one of the two files of a pair is missing."""
    named = [path] if path.suffix in (".cfl", ".hdr") else []
    for part in (*named, *pair_of(path)):
        existing_file(part)


def read_dimensions(path: str | Path) -> tuple[int, ...]:
    """Return the 16 axis sizes that a .hdr file states, padded with 1.

    Raises
    ------
    FileNotFoundError
        When the .hdr file is missing.
    ValueError
        When it has no line of 1 to 16 positive whole numbers after `# Dimensions`.
    """
    header = existing_file(pair_of(path)[0])
    lines = header.read_text(errors="replace").splitlines()
    index = next((i for i, line in enumerate(lines) if line.strip() == "# Dimensions"), len(lines))
    words = lines[index + 1].split() if index + 1 < len(lines) else []
    dims = [int(word) for word in words if word.isdecimal() and len(word) < 19]
    if not 1 <= len(dims) <= len(AXES) or len(dims) != len(words) or min(dims) < 1:
        rule = f"{header} must state 1 to 16 positive sizes in the line after `# Dimensions`"
        raise ValueError(message(rule, repr(" ".join(words)), "Write the file again with BART."))
    return (*dims, *[1] * (len(AXES) - len(dims)))


def read_cfl(path: str | Path) -> np.ndarray:
    """Read a .cfl/.hdr pair as an array of 16 axes.

    Parameters
    ----------
    path
        The .cfl file, the .hdr file, or their common stem.

    Returns
    -------
    numpy.ndarray
        complex64 of 16 axes in BART's order (READ, PHS1, PHS2, COIL, ...), column-major, writable.

    Raises
    ------
    FileNotFoundError
        When one of the two files is missing.
    ValueError
        When the header is malformed or the .cfl file is shorter or longer than it states.
    """
    mapped = _mapped(path)
    check_array(pair_of(path)[1], "the array", mapped.shape, mapped.itemsize)
    return np.array(mapped, order="F")


def _mapped(path: str | Path) -> np.ndarray:
    """Map a pair into memory, so that only the parts that are used are read from the disk."""
    dims = read_dimensions(path)
    header, data = pair_of(path)
    size, expected = existing_file(data).stat().st_size, 8 * prod(dims)
    if size != expected:
        rule = f"{data} must have the {expected} bytes that {header.name} states"
        raise ValueError(message(rule, size, "The file is truncated or foreign: copy it again."))
    return np.memmap(data, dtype="<c8", mode="r", shape=dims, order="F")


def write_cfl(path: str | Path, array: np.ndarray, *, overwrite: bool = False) -> None:
    """Write an array of at most 16 axes as a .cfl/.hdr pair.

    Parameters
    ----------
    path
        The .cfl file, the .hdr file, or their common stem.
    array
        Real or complex values, any shape of at most 16 axes in BART's order, cast to complex64.
    overwrite
        Whether to replace an existing pair.

    Raises
    ------
    ValueError
        When the array has no element or more than 16 axes.
    FileExistsError
        When one of the two files exists and `overwrite` is false; nothing is touched.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_cfl(f"{folder}/a", np.arange(6).reshape(2, 3))
    ...     read_cfl(f"{folder}/a").squeeze().real.tolist()
    [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    """
    if not 1 <= array.ndim <= len(AXES) or not array.size:
        rule = "an array for BART must have 1 to 16 axes, none of them empty"
        raise ValueError(message(rule, f"shape {array.shape}", "Reshape the array."))
    dims = (*array.shape, *[1] * (len(AXES) - array.ndim))
    header, data = pair_of(path)
    with (
        whole_file(header, overwrite=overwrite) as header_part,
        whole_file(data, overwrite=overwrite) as data_part,
    ):
        # (x, y, z, ...) -> (x·y·z·...): the first axis varies fastest
        data_part.write_bytes(array.astype("<c8").reshape(-1, order="F").data)
        header_part.write_text(f"# Dimensions\n{' '.join(map(str, dims))} \n")


def read_bart(
    path: str | Path,
    *,
    slices: Slices = None,
    contrast: int | None = None,
    repetition: int | str | None = None,
    fftshift: bool = False,
) -> Scan:
    """Read 2-D multi-coil k-space, one or many slices, from a .cfl/.hdr pair.

    Two of the three spatial axes carry k-space: (x, y, 1, c), (1, y, z, c) or (x, 1, z, c); slices
    lie along axis 13, echoes along axis 5 (TE), repetitions along axis 10 (TIME).

    Parameters
    ----------
    path
        The .cfl file, the .hdr file, or their common stem.
    slices
        Slices to read, by default all.
    contrast, repetition
        Number of the contrast and of the repetition, by default the first. The repetition may be
        "average" for the mean of all.
    fftshift
        Whether the zero frequency comes first, as in numpy.fft.fft2.

    Returns
    -------
    Scan
        (s, c, H, W), H the first spatial axis in use and W the second. Not validated.

    Raises
    ------
    FileNotFoundError
        When one of the two files is missing.
    ValueError
        When the pair is truncated, or any other axis is longer than 1.
    """
    data = pair_of(path)[1]
    array = _mapped(path)
    spatial = [axis for axis in (0, 1, 2) if array.shape[axis] > 1]
    if len(spatial) == 3:
        got = f"{'x'.join(map(str, array.shape[:3]))} points"
        remedy = "Transform the readout first: bart fft -i -u 1, then move it to axis 13."
        raise ValueError(message(f"{data} must hold slices of 2-D k-space", got, remedy))
    known = (CONTRAST, REPETITION, SLICE)
    odd = [AXES[a] for a in range(4, len(AXES)) if array.shape[a] > 1 and a not in known]
    if odd:
        rule = f"{data} may extend along READ, PHS1, PHS2, COIL, TE, TIME and SLICE only"
        raise ValueError(message(rule, ", ".join(odd), "Pick one entry with bart slice."))
    axes = spatial if len(spatial) == 2 else [0, 1]
    kept = (REPETITION, CONTRAST, SLICE, COIL, *axes)
    rest = [axis for axis in range(len(AXES)) if axis not in kept]
    series = array.transpose(*kept, *rest)[(..., *[0] * len(rest))]  # (t, e, s, c, H, W)
    header = {
        "format": "BART",
        "shape": series.shape[2:],
        "dtype": "complex64",
        "attributes": {"dimensions": list(array.shape)},
        "contrasts": series.shape[1],
        "repetitions": series.shape[0],
    }
    pick = resolve(slices, series.shape[2])
    wanted = picked(series[:, :, pick], data, contrast=contrast, repetition=repetition)
    check_array(data, "k-space", wanted.shape, wanted.itemsize)
    kspace = np.array(wanted, np.complex64, order="C")
    found = from_corner(torch.from_numpy(kspace)) if fftshift else torch.from_numpy(kspace)
    return Scan(found, header=header, name=data.name, path=data)


def write_bart(path: str | Path, kspace: torch.Tensor, *, overwrite: bool = False) -> None:
    """Write k-space, coil maps (s, c, H, W) or images (s, 1, H, W) as BART expects them.

    Parameters
    ----------
    path
        The .cfl file, the .hdr file, or their common stem.
    kspace
        (s, c, H, W), real or complex; stored as (H, W, 1, c, ..., s) with slices along axis 13.
    overwrite
        Whether to replace an existing pair.
    """
    if kspace.ndim != 4:
        rule = "`kspace` must have shape (slices, coils, H, W)"
        raise ValueError(message(rule, tuple(kspace.shape), "Add the missing axes."))
    # (s, c, H, W) -> (H, W, c, s)
    array = kspace.detach().cpu().resolve_conj().numpy().transpose(2, 3, 1, 0)
    height, width, coils, n_slices = array.shape
    dims = (height, width, 1, coils, *[1] * (SLICE - COIL - 1), n_slices)
    write_cfl(path, array.reshape(dims), overwrite=overwrite)  # singleton axes only
