"""Where images of raw data lie in the patient: a point is found again at its coordinates."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tolerances import assert_close

from monarch_sciml.data.images.write import write_image
from monarch_sciml.data.scans.read import read_scan
from monarch_sciml.physics import ifft2c, rss

SCANS = Path(__file__).parents[4] / "../shared/kspace"
GRE, PULSEQ = SCANS / "twixtools_gre.dat", SCANS / "pulseq_tut_GRE_prisma_1ch.dat"
X, Y, Z = 12, 10, 8
FOV = np.array([240.0, 240.0, 5.0])  # of the header of `write_readouts`
CENTRE = np.array([11.0, -7.0, 30.0])
TURNS = [Rotation.from_rotvec(v) for v in ([0, 0, 0], [1.1, -0.4, 0.3], [2.5, 0.7, -1.0])]
TO_RAS = np.array([-1, -1, 1])
"""DICOM counts to the left and to the back, NIfTI to the right and to the front."""


def signal(point, directions, ky, kz=0, oversampling=1):
    """Samples (1, n) of a point at `point` mm, in steps of one over the field of view."""
    offset = directions @ (point - CENTRE) / FOV  # in fields of view
    kx = (np.arange(X * oversampling) - X * oversampling // 2) / 1
    phase = kx * offset[0] / oversampling + ky * offset[1] + kz * offset[2]
    return np.exp(-2j * np.pi * phase)[None]


def brightest(scan, folder):
    """Coordinates, to the right, front and head, of the brightest voxel of a NIfTI file."""
    write_image(folder / "a.nii.gz", rss(ifft2c(scan.kspace)), scan=scan, overwrite=True)
    found = nibabel.load(folder / "a.nii.gz")
    index = np.unravel_index(np.argmax(found.get_fdata()), found.shape)
    return (found.affine @ [*index, 1])[:3], found


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("oversampling", [1, 2])
def test_a_point_of_a_volume(write_readouts, tmp_path, turn, oversampling):
    directions = turn.as_matrix()  # rows: readout, phase, slice
    point = CENTRE + directions.T @ (FOV * [2 / X, -3 / Y, 1 / Z])
    counters = [
        {"kspace_encode_step_1": y, "kspace_encode_step_2": z} for z in range(Z) for y in range(Y)
    ]
    readouts = [
        signal(point, directions, c["kspace_encode_step_1"] - Y // 2,
               c["kspace_encode_step_2"] - Z // 2, oversampling)
        for c in counters
    ]  # fmt: skip
    path = write_readouts(
        tmp_path / "a.h5", readouts, counters=counters, y=Y, z=Z, h=X,
        positions=[CENTRE] * len(readouts), directions=directions,
    )  # fmt: skip
    scan = read_scan(path)
    assert scan.transformed == ("readout",) and scan.kspace.shape == (X, 1, Y, Z)
    found, nifti = brightest(scan, tmp_path)
    assert_close(found.astype(np.float32), TO_RAS * point)
    sizes = nibabel.affines.voxel_sizes(nifti.affine)
    assert_close(sizes.astype(np.float32), (FOV / [X, Y, Z])[[2, 1, 0]])
    part = read_scan(path, slices=slice(8, 9))  # one readout position: that of the point
    assert_close(brightest(part, tmp_path)[0].astype(np.float32), TO_RAS * point)


@pytest.mark.parametrize("turn", TURNS)
def test_a_point_of_slices(write_readouts, tmp_path, turn):
    directions = turn.as_matrix()
    point = CENTRE + directions.T @ (FOV * [2 / X, -3 / Y, 0])
    counters = [{"kspace_encode_step_1": y, "slice": s} for s in range(3) for y in range(Y)]
    readouts = [
        signal(point, directions, c["kspace_encode_step_1"] - Y // 2) * (1 + (c["slice"] == 1))
        for c in counters
    ]
    positions = [CENTRE + 9.0 * (c["slice"] - 1) * directions[2] for c in counters]
    path = write_readouts(
        tmp_path / "a.h5", readouts, counters=counters, y=Y, positions=positions,
        directions=directions,
    )  # fmt: skip
    found, nifti = brightest(read_scan(path), tmp_path)
    assert_close(found.astype(np.float32), TO_RAS * point)
    assert nibabel.affines.voxel_sizes(nifti.affine)[2] == pytest.approx(9.0)


def test_what_is_not_known_is_left_out(write_readouts, tmp_path):
    readouts = [signal(CENTRE, np.eye(3), y - Y // 2) for y in range(Y)]
    options = {"positions": [CENTRE] * Y}
    skewed = np.array([[1.0, 0, 0], [0.5, 1, 0], [0, 0, 1]])
    for i, directions in enumerate((skewed, np.zeros((3, 3)))):
        path = write_readouts(tmp_path / f"{i}.h5", readouts, directions=directions, **options)
        assert read_scan(path).header.get("orientation") is None


needs_scans = pytest.mark.skipif(not GRE.exists(), reason="no scanner data beside the checkout")


def prescribed(normal, angle):
    """Directions of phase encode and readout that Siemens prescribes for a transversal slice.

    The rule of fGSLCalcPRS in the IDEA manual: phase encode is normal x (-1, 0, 0), as far as it
    lies in the slice, turned by the in-plane rotation; readout is normal x phase encode.
    """
    phase = np.array([0.0, normal[2], -normal[1]]) / np.hypot(normal[1], normal[2])
    readout = np.cross(normal, phase)
    phase = np.cos(angle) * phase - np.sin(angle) * readout
    return phase, np.cross(normal, phase)


@needs_scans
def test_directions_of_a_siemens_file(tmp_path):
    twixtools = pytest.importorskip("twixtools")
    path = str(GRE.resolve())
    header = twixtools.read_twix(path, parse_data=False, verbose=False)[-1]["hdr"]
    stated = header["MeasYaps"]["sSliceArray"]["asSlice"][0]
    normal, position = (
        np.array([stated[name].get(axis, 0.0) for axis in ("dSag", "dCor", "dTra")])
        for name in ("sNormal", "sPosition")
    )
    phase, readout = prescribed(normal, stated.get("dInPlaneRot", 0.0))
    scan = read_scan(GRE)
    place = scan.header["orientation"]
    assert_close(np.float32(place["directions"]), np.stack([readout, phase, normal]))
    assert_close(np.float32(place["positions"]), position[None])
    _, nifti = brightest(scan, tmp_path)
    # columns count from front to back, rows from left to right, slices towards the head
    assert nibabel.aff2axcodes(nifti.affine) == ("P", "R", "S")
    centre = nifti.affine @ [nifti.shape[0] // 2, nifti.shape[1] // 2, 0, 1]
    assert_close(centre[:3].astype(np.float32), TO_RAS * position)


@needs_scans
@pytest.mark.parametrize("turn", TURNS[1:])
def test_the_quaternion_of_a_siemens_readout(tmp_path, turn):
    twixtools = pytest.importorskip("twixtools")
    path = str(GRE.resolve())
    measured = twixtools.read_twix(path, parse_pmu=False, parse_geometry=False, verbose=False)[-1]
    blocks = [block.convert_to_local() for block in measured["mdb"]][::8]
    x, y, z, w = turn.as_quat()
    for block in blocks:
        block.mdh.SliceData.Quaternion[:] = [w, x, y, z]
    twixtools.write_twix([{**measured, "mdb": blocks}], str(tmp_path / "a.dat"))
    phase, readout, normal = turn.as_matrix().T  # siemens_to_ismrmrd: its columns
    found = read_scan(tmp_path / "a.dat").header["orientation"]["directions"]
    assert_close(np.float32(found), np.stack([readout, phase, normal]))


@needs_scans
def test_pulseq_has_axes_of_its_own():
    pytest.importorskip("twixtools")
    assert read_scan(PULSEQ).header.get("orientation") is None
