"""NIfTI images in the coordinates of the patient."""

import nibabel
import numpy as np
import torch

from monarch_sciml.data.images.nifti import write_nifti
from monarch_sciml.data.images.write import write_image
from monarch_sciml.data.scans.scan import Scan

TURN = np.array([[0.8, 0.6, 0.0], [-0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
"""Directions of rows, columns and slices, to the left, to the back, to the head."""


def test_a_voxel_lies_where_the_slices_do(tmp_path):
    positions = np.array([[10.0, -20.0, 5.0], [10.0, -20.0, 11.0]])
    place = {"positions": positions.tolist(), "directions": TURN.tolist()}
    image = torch.zeros(2, 8, 6)
    write_nifti(tmp_path / "a.nii", image, voxel_size=(4.0, 2.0, 3.0), orientation=place)
    affine = nibabel.load(tmp_path / "a.nii").affine
    to_ras = np.array([-1, -1, 1])  # DICOM counts to the left and to the back
    for number, centre in enumerate(positions):  # voxel n // 2 is the centre of the slice
        found = affine @ [6 // 2, 8 // 2, number, 1]
        np.testing.assert_allclose(found[:3], to_ras * centre)
    # one row further is 2 mm along the readout, one column 3 mm along the phase encode
    np.testing.assert_allclose(affine[:3, 1], to_ras * 2.0 * TURN[0])
    np.testing.assert_allclose(affine[:3, 0], to_ras * 3.0 * TURN[1])


def test_a_scan_hands_its_orientation_on(tmp_path):
    place = {"positions": [[0.0, 0.0, 7.0]], "directions": TURN.tolist()}
    scan = Scan(torch.ones(1, 1, 8, 6) + 0j, header={"orientation": place})
    write_image(tmp_path / "a.nii.gz", torch.ones(1, 8, 6), scan=scan)
    affine = nibabel.load(tmp_path / "a.nii.gz").affine
    np.testing.assert_allclose(affine[:3, 2], [0, 0, 1])
    error = affine @ [3, 4, 0, 1] - [0, 0, 7, 1]
    assert np.abs(error).max() <= 16 * np.finfo(np.float32).eps * 7  # NIfTI holds float32
    scan.header["orientation"] = None
    write_image(tmp_path / "b.nii.gz", torch.ones(1, 8, 6), scan=scan)
    assert nibabel.load(tmp_path / "b.nii.gz").affine[0, 0] == 1.0
