"""The part of the ISMRMRD XML header that fastMRI files carry: matrix sizes and encoding limits."""

from __future__ import annotations

from xml.etree import ElementTree

from monarch_sciml._checks import message

NAMESPACE = "http://www.ismrm.org/ISMRMRD"


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
    space = {"m": NAMESPACE}
    limits = "m:encoding/m:encodingLimits/m:kspace_encoding_step_1"
    size_path = "m:encoding/m:encodedSpace/m:matrixSize/m:y"
    try:
        root = ElementTree.fromstring(xml)
        size, center, maximum = (
            int(root.findtext(path, "", space))
            for path in (size_path, f"{limits}/m:center", f"{limits}/m:maximum")
        )
    except (ElementTree.ParseError, ValueError) as error:
        rule = "`ismrmrd_header` must give the encoded matrix size and the limits of step 1"
        raise ValueError(message(rule, str(error), "Remove or repair the header.")) from error
    left = size // 2 - center
    return left, left + maximum + 1


def minimal_header(
    matrix: tuple[int, int], recon_matrix: tuple[int, int], padding: tuple[int, int] | None
) -> str:
    """Return the XML that `padding_from_header`, and fastMRI's own reader, understand.

    Parameters
    ----------
    matrix
        (H, W) of the k-space.
    recon_matrix
        (h, w) of the reference image.
    padding
        First and one past the last encoded column; None when all W columns are encoded.
    """
    left, right = padding or (0, matrix[1])
    sizes = "<matrixSize><x>{}</x><y>{}</y><z>1</z></matrixSize>".format
    return (
        f'<?xml version="1.0" encoding="utf-8"?><ismrmrdHeader xmlns="{NAMESPACE}"><encoding>'
        f"<encodedSpace>{sizes(*matrix)}</encodedSpace>"
        f"<reconSpace>{sizes(*recon_matrix)}</reconSpace>"
        "<encodingLimits><kspace_encoding_step_1><minimum>0</minimum>"
        f"<maximum>{right - left - 1}</maximum><center>{matrix[1] // 2 - left}</center>"
        "</kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>"
    )
