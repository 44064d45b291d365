"""M4Raw: files of a low-field scanner in fastMRI's layout, one for each repetition."""

# Letters: s slices, c coils, H readout axis, W phase-encode axis.

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from monarch_sciml._checks import message
from monarch_sciml.data.scans.formats.fastmri import read_fastmri
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.slices import Slices

NAME = re.compile(r"(?P<series>\d+_(?:T1|T2|FLAIR))\d\d(?P<suffix>\.h5)")
"""subject_contrast and two digits, the number of the repetition: 2022061003_T101.h5."""


def repetition_files(path: str | Path) -> list[Path]:
    """Return the files of all repetitions of the series that a file belongs to, itself included.

    Examples
    --------
    >>> repetition_files("folder/scan.h5")  # not a name of M4Raw: a series of one
    [PosixPath('folder/scan.h5')]
    """
    path = Path(path)
    match = NAME.fullmatch(path.name)
    if match is None:
        return [path]
    pattern = f"{match['series']}[0-9][0-9]{match['suffix']}"
    return sorted({*path.parent.glob(pattern), path})


def read_m4raw(path: str | Path, *, slices: Slices = None, average: bool = False) -> Scan:
    """Read one repetition of an M4Raw scan, or the complex mean of all of them.

    Parameters
    ----------
    path
        The .h5 file of any repetition, named as in the data set: 2022061003_T101.h5.
    slices
        Slices to read, by default all.
    average
        Whether to average k-space over the files of the same subject and contrast in its folder.
        Movement between repetitions is not corrected.

    Returns
    -------
    Scan
        The scan as `read_fastmri` returns it, with the number of files of the series as
        `header["repetitions"]`, and the format "M4Raw" if the file is named as in the data set. An
        average has no reference, because a mean of magnitudes is not the magnitude of a mean.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When `read_fastmri` raises it, or repetitions differ in size.

    References
    ----------
    Lyu et al., "M4Raw: A multi-contrast, multi-repetition, multi-channel MRI k-space dataset for
    low-field MRI research", Scientific Data 10 (2023).
    """
    files = repetition_files(path)
    scan = read_fastmri(path, slices=slices)
    scan.header["repetitions"] = len(files)
    if NAME.fullmatch(scan.name):
        scan.header["format"] = "M4Raw"
    if not average or len(files) == 1:
        return scan
    total, mask = scan.kspace.clone(), scan.mask
    for other in (file for file in files if file != Path(path)):
        repetition = read_fastmri(other, slices=slices)  # one file in memory at a time
        if repetition.kspace.shape != total.shape:
            rule = f"all repetitions of {scan.name} must have k-space {tuple(total.shape)}"
            got = f"{tuple(repetition.kspace.shape)} in {other.name}"
            raise ValueError(message(rule, got, "Remove that file from the folder."))
        total += repetition.kspace
        mask = mask & repetition.mask
    kspace = total / len(files)
    header = scan.header | {"reference": None, "reference_shape": None, "averaged": len(files)}
    kept = mask if mask.ndim == 3 else mask[None]  # (s or 1, H, W)
    return replace(scan, kspace=kspace * kept[:, None], mask=mask, target=None, header=header)
