"""Read matrix sizes, fields of view and encoding limits from an ISMRMRD XML header."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from monarch_sciml._checks import message
from monarch_sciml.data.scans.raw.regrid import Ramps

NAMESPACE = "http://www.ismrm.org/ISMRMRD"
_SPACE = {"m": NAMESPACE}
LARGEST = 2**16 - 1
"""Largest size and counter: they are unsigned numbers of 16 bits in the schema."""
LONGEST_GRADIENT = 1e9
"""Microseconds."""


@dataclass(frozen=True)
class EncodingSpace:
    """Describe one encoding by the header of an ISMRMRD file.

    Attributes
    ----------
    matrix
        Encoded matrix (x, y, z), the readout x with its oversampling.
    recon_matrix
        Matrix (x, y, z) of the image that the scanner makes.
    fov, recon_fov
        Fields of view (x, y, z) of the two matrices in mm, 0 if the header has none.
    center
        Counters of kspace_encoding_step_1 and _2 at the centre of k-space, None if the header has
        none.
    maximum
        Largest counter of kspace_encoding_step_1, or None.
    trajectory
        "cartesian", "epi", "radial", ...
    ramps
        The readout gradient of EPI, as converters describe it, None if the header has none.
    """

    matrix: tuple[int, int, int]
    recon_matrix: tuple[int, int, int]
    fov: tuple[float, float, float]
    recon_fov: tuple[float, float, float]
    center: tuple[int | None, int | None]
    maximum: int | None
    trajectory: str
    ramps: Ramps | None = None

    @property
    def oversampling(self) -> float:
        """Readout oversampling: the ratio of the fields of view along x, else of the matrices."""
        if self.fov[0] > 0 and self.recon_fov[0] > 0:
            return self.fov[0] / self.recon_fov[0]
        return self.matrix[0] / self.recon_matrix[0]


def encoding_spaces(xml: str | bytes) -> list[EncodingSpace]:
    """Return the encodings that an ISMRMRD header describes.

    Raises
    ------
    ValueError
        When the text is no XML of the ISMRMRD schema, has no encoding or a matrix without size.
    """
    try:
        root = ElementTree.fromstring(xml)
        spaces = [_encoding(node) for node in root.findall("m:encoding", _SPACE)]
    except (ElementTree.ParseError, ValueError, OverflowError) as error:
        rule = "the ISMRMRD header must give encoded and reconstructed matrix sizes"
        raise ValueError(message(rule, str(error), "Repair the header.")) from error
    if not spaces:
        rule = "the ISMRMRD header must describe an encoding"
        raise ValueError(message(rule, "none", "Convert the scan again."))
    return spaces


def _encoding(node: ElementTree.Element) -> EncodingSpace:
    def triple(path: str, default: str) -> tuple[float, float, float]:
        x, y, z = (float(node.findtext(f"m:{path}/m:{axis}", default, _SPACE)) for axis in "xyz")
        return x, y, z

    def limit(step: int, name: str) -> int | None:
        path = f"m:encodingLimits/m:kspace_encoding_step_{step}/m:{name}"
        text = node.findtext(path, None, _SPACE)
        if text is None:
            return None
        if not 0 <= int(text) <= LARGEST:
            raise ValueError(f"{name} {text} of kspace_encoding_step_{step}")
        return int(text)

    sizes = [triple(f"{space}Space/m:matrixSize", "") for space in ("encoded", "recon")]
    matrix, recon = ((int(x), int(y), int(z)) for x, y, z in sizes)
    if min(*matrix, *recon) < 1 or max(*matrix, *recon) > LARGEST:
        raise ValueError(f"matrix sizes {matrix} and {recon}")
    return EncodingSpace(
        matrix,
        recon,
        triple("encodedSpace/m:fieldOfView_mm", "0"),
        triple("reconSpace/m:fieldOfView_mm", "0"),
        (limit(1, "center"), limit(2, "center")),
        limit(1, "maximum"),
        node.findtext("m:trajectory", "cartesian", _SPACE).strip().lower(),
        _ramps(node),
    )


def _ramps(node: ElementTree.Element) -> Ramps | None:
    """Return the readout gradient that a `trajectoryDescription` gives; None without one."""
    values: dict[str, float] = {}
    for kind in ("userParameterLong", "userParameterDouble"):
        for entry in node.findall(f"m:trajectoryDescription/m:{kind}", _SPACE):
            name = entry.findtext("m:name", "", _SPACE)
            values[name] = float(entry.findtext("m:value", "0", _SPACE))
    names = ("rampUpTime", "flatTopTime", "rampDownTime", "acqDelayTime", "dwellTime")
    if any(name not in values for name in names) or values["dwellTime"] <= 0:
        return None
    if not all(0 <= values[name] <= LONGEST_GRADIENT for name in names):
        raise ValueError(f"times of the readout gradient {[values[name] for name in names]}")
    return Ramps(*(values[name] for name in names))


def noise_bandwidth(xml: str | bytes) -> float:
    """Return relativeReceiverNoiseBandwidth of an ISMRMRD header, or 1 if it has none."""
    path = "m:acquisitionSystemInformation/m:relativeReceiverNoiseBandwidth"
    return float(ElementTree.fromstring(xml).findtext(path, "1", _SPACE))


def padding_from_header(xml: str | bytes) -> tuple[int, int]:
    """Return the first and one past the last encoded column, from the header of a fastMRI file.

    left = N_y // 2 - center, right = left + maximum + 1, where N_y is the encoded matrix size and
    center and maximum the limits of kspace_encoding_step_1. Columns outside were never acquired.

    Raises
    ------
    ValueError
        When the text is no XML of the ISMRMRD schema or lacks one of the three numbers.

    References
    ----------
    fastMRI, `fastmri/data/mri_data.py`, `_retrieve_metadata`.
    """
    limits = "m:encoding/m:encodingLimits/m:kspace_encoding_step_1"
    size_path = "m:encoding/m:encodedSpace/m:matrixSize/m:y"
    try:
        root = ElementTree.fromstring(xml)
        size, center, maximum = (
            int(root.findtext(path, "", _SPACE))
            for path in (size_path, f"{limits}/m:center", f"{limits}/m:maximum")
        )
    except (ElementTree.ParseError, ValueError) as error:
        rule = "`ismrmrd_header` must give the encoded matrix size and the limits of step 1"
        raise ValueError(message(rule, str(error), "Remove or repair the header.")) from error
    left = size // 2 - center
    return left, left + maximum + 1


def voxel_size_from_header(
    xml: str | bytes, matrix: tuple[int, int]
) -> tuple[float, float, float] | None:
    """Return the distance of slices, rows and columns in mm, from the header of a fastMRI file.

    The result is None if the header has no field of view, or belongs to another matrix (H, W).
    """
    try:
        space = encoding_spaces(xml)[0]
    except ValueError:
        return None
    if space.matrix[:2] != matrix or min(space.fov) <= 0:
        return None
    row, column, distance = (length / n for length, n in zip(space.fov, space.matrix))
    return distance, row, column


def minimal_header(
    matrix: tuple[int, int],
    recon_matrix: tuple[int, int],
    padding: tuple[int, int] | None,
    voxel_size: tuple[float, float, float] | None = None,
) -> str:
    """Return an XML header for `padding_from_header` and fastMRI's own reader.

    Parameters
    ----------
    matrix
        (H, W) of the k-space.
    recon_matrix
        (h, w) of the reference image.
    padding
        First and one past the last encoded column; None when all W columns are encoded.
    voxel_size
        Distances between slices, rows and columns in mm, None if they are not known.
    """
    left, right = padding or (0, matrix[1])

    def sizes(rows: int, columns: int) -> str:
        text = f"<matrixSize><x>{rows}</x><y>{columns}</y><z>1</z></matrixSize>"
        if voxel_size is None:
            return text
        distance, row, column = voxel_size
        fov = f"<x>{row * rows!r}</x><y>{column * columns!r}</y><z>{distance!r}</z>"
        return f"{text}<fieldOfView_mm>{fov}</fieldOfView_mm>"

    return (
        f'<?xml version="1.0" encoding="utf-8"?><ismrmrdHeader xmlns="{NAMESPACE}"><encoding>'
        f"<encodedSpace>{sizes(*matrix)}</encodedSpace>"
        f"<reconSpace>{sizes(*recon_matrix)}</reconSpace>"
        "<encodingLimits><kspace_encoding_step_1><minimum>0</minimum>"
        f"<maximum>{right - left - 1}</maximum><center>{matrix[1] // 2 - left}</center>"
        "</kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>"
    )
