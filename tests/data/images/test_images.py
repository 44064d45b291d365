import nibabel
import numpy as np
import pytest
import torch
from matplotlib.image import imread

from monarch_sciml.data.hdf5 import open_hdf5
from monarch_sciml.data.images.nifti import write_nifti
from monarch_sciml.data.images.png import write_png
from monarch_sciml.data.images.write import image_ending, write_image
from monarch_sciml.data.scans.formats.bart import read_cfl
from monarch_sciml.data.scans.formats.fastmri import read_fastmri
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics.images import montage
from monarch_sciml.physics.sense_operator import fft2c

ALL = ["a.h5", "a.nii", "a.nii.gz", "a.cfl", "a.png"]


@pytest.fixture
def image():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 8, 6, dtype=torch.complex64, generator=generator)


@pytest.fixture
def scan(image):
    kspace = fft2c(image)[:, None] + torch.zeros(3, 2, 8, 6)
    return Scan(kspace, header={"voxel_size": (4.0, 0.5, 0.75)}, name="x")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti(tmp_path, image, scan, name):
    write_image(tmp_path / name, image, scan=scan)
    nifti = nibabel.load(tmp_path / name)
    assert nifti.get_data_dtype() == np.float32 and nifti.header.get_zooms() == (0.75, 0.5, 4.0)
    np.testing.assert_array_equal(nifti.get_fdata(dtype=np.float32), image.abs().numpy().T)
    assert nifti.header.get_xyzt_units()[0] == "mm"
    # row 0 is the front (large y), column 0 the left (small x), the centre is the origin
    corner = nifti.affine @ [0, 0, 0, 1]
    np.testing.assert_allclose(corner[:3], [-0.75 * 2.5, 0.5 * 3.5, -4.0])
    np.testing.assert_allclose(nifti.affine @ [2.5, 3.5, 1, 1], [0, 0, 0, 1], atol=1e-6)
    assert nibabel.aff2axcodes(nifti.affine) == ("R", "P", "S")


def test_nifti_without_a_voxel_size(tmp_path, image):
    write_image(tmp_path / "a.nii.gz", image[0])  # one slice
    nifti = nibabel.load(tmp_path / "a.nii.gz")
    assert nifti.shape == (6, 8, 1) and nifti.header.get_zooms() == (1, 1, 1)
    with pytest.raises(ValueError, match="`voxel_size` must be three positive lengths in mm"):
        write_nifti(tmp_path / "b.nii", image, voxel_size=(1.0, 0.0, 1.0))
    assert [file.name for file in tmp_path.iterdir()] == ["a.nii.gz"]


def test_cfl_keeps_the_phase(tmp_path, image):
    write_image(tmp_path / "a.cfl", image)
    array = read_cfl(tmp_path / "a")
    assert array.shape[:4] == (8, 6, 1, 1) and array.shape[13] == 3
    np.testing.assert_array_equal(array.squeeze().transpose(2, 0, 1), image)


def test_hdf5(tmp_path, image, scan):
    write_image(tmp_path / "a.h5", image)
    with open_hdf5(tmp_path / "a.h5") as file:
        assert [*file] == ["reconstruction"]
        np.testing.assert_array_equal(file["reconstruction"], image.abs())
    write_image(tmp_path / "b.h5", image, scan=scan)
    torch.testing.assert_close(read_fastmri(tmp_path / "b.h5").kspace, scan.kspace)
    with open_hdf5(tmp_path / "b.h5") as file:
        np.testing.assert_array_equal(file["reconstruction"], image)


def test_png_is_a_montage_with_one_pixel_a_pixel(tmp_path, image):
    write_image(tmp_path / "a.png", image)
    pixels = imread(tmp_path / "a.png")[..., 0]
    assert pixels.shape == (16, 12)
    magnitude = image.abs().numpy()
    white = np.sort(magnitude.ravel())[round(0.995 * magnitude.size) - 1]
    expected = np.clip(magnitude / white, 0, 1)
    np.testing.assert_allclose(pixels[:8, :6], expected[0], atol=1 / 127)
    np.testing.assert_allclose(pixels[:8, 6:], expected[1], atol=1 / 127)
    np.testing.assert_allclose(pixels[8:, :6], expected[2], atol=1 / 127)
    assert not pixels[8:, 6:].any()
    write_png(tmp_path / "b.png", image, n_columns=3)
    assert imread(tmp_path / "b.png").shape[:2] == (8, 18)
    write_png(tmp_path / "zero.png", 0 * image)
    assert not imread(tmp_path / "zero.png")[..., :3].any()


@pytest.mark.parametrize(
    ("size", "shape"),
    [((4.0, 1.0, 2.5), (8, 15)), ((4.0, 3.0, 1.0), (24, 6)), ((4.0, 2.0, 2.01), (8, 6))],
)
def test_png_shows_true_proportions(tmp_path, image, scan, size, shape):
    """Rows and columns of a pixel of 1 x 2.5 mm: 6 columns become 15 pixels of 1 mm."""
    scan.header["voxel_size"] = size
    write_image(tmp_path / "a.png", image[:1], scan=scan)
    assert imread(tmp_path / "a.png").shape[:2] == shape
    scan.header["voxel_size"] = (1.0, 1.0, 1000.0)  # no size of a pixel
    write_image(tmp_path / "b.png", image[:1], scan=scan)
    assert imread(tmp_path / "b.png").shape[:2] == (8, 6)


@pytest.mark.parametrize("n_columns", [1, 2, 5, None])
def test_a_montage_holds_every_slice(n_columns):
    volume = torch.arange(5 * 4 * 3).reshape(5, 4, 3)
    tiles = montage(volume, n_columns)
    columns = n_columns or 3
    for number, tile in enumerate(volume):
        row, column = divmod(number, columns)
        part = tiles[4 * row : 4 * row + 4, 3 * column : 3 * column + 3]
        assert torch.equal(part, tile)
    assert tiles.sum() == volume.sum()


@pytest.mark.parametrize("name", ALL)
def test_files_are_written_whole_or_not_at_all(tmp_path, image, name):
    for bad, words in (
        (image * float("nan"), "`image` must be finite"),
        (image[None, None], r"`image` must have shape \(slices, h, w\), got \(1, 1, 3, 8, 6\)"),
        (image[:0], "must have shape"),
    ):
        with pytest.raises(ValueError, match=words):
            write_image(tmp_path / name, bad)
    assert not [*tmp_path.iterdir()]
    write_image(tmp_path / name, image)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(FileExistsError, match="must not exist yet"):
        write_image(tmp_path / name, 2 * image)
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    write_image(tmp_path / name, 2 * image, overwrite=True)
    assert {*before} == {file.name for file in tmp_path.iterdir()}


def test_endings(tmp_path, image):
    assert image_ending(tmp_path / "a.b.PNG") == ".png"
    with pytest.raises(
        ValueError, match=r"must end in .h5, .nii, .nii.gz, .cfl, .png, got 'a.jpg'"
    ):
        write_image(tmp_path / "a.jpg", image)
