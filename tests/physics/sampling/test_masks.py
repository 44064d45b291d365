"""Masks: fastMRI's own draws, achieved acceleration, Poisson disc, calibration block, bad input."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentParser
from scipy.spatial import cKDTree

from monarch_sciml.physics.sampling import (
    EquispacedFractionMask,
    EquispacedMask,
    FullMask,
    PoissonDiscMask,
    RandomMask,
    SamplingMask,
    UniformMask,
    achieved_acceleration,
    calibration_size,
    volume_seed,
)

# Made with fastmri 0.3.0 from PyPI (fastmri/data/subsample.py): columns of the mask for
# center_fractions [0.08, 0.04], accelerations [4, 8], 225 columns, seed of the file name KNEE
KNEE, BRAIN = "file1000001.h5", "file_brain_AXT2_200_2000001.h5"
CENTER = list(range(109, 117))
LOW = [9, 20, 32, 43, 54, 65, 77, 88, 99, 108]
HIGH = [122, 133, 145, 156, 167, 178, 190, 201, 212, 224]
RANDOM_LOW = [2, 4, 9, 22, 24, 51, 55, 57, 60, 66, 74, 82, 106, 108]
RANDOM_HIGH = [133, 147, 149, 153, 164, 170, 177, 183, 186, 192, 208, 213]
FASTMRI_COLUMNS = {
    RandomMask: [*RANDOM_LOW, *CENTER, *RANDOM_HIGH],
    EquispacedMask: sorted({*range(4, 225, 8), *CENTER}),
    EquispacedFractionMask: [*LOW, *CENTER, *HIGH],
}
# and for 0.08, 4, seed of BRAIN: (columns, number sampled, SHA-256 of the packed bits)
FASTMRI_DIGESTS = [
    (RandomMask, 368, 77, "ff05deae67c87fcb"),
    (RandomMask, 225, 48, "ef3f663b0f13a83d"),
    (EquispacedMask, 368, 114, "d305d1286176a710"),
    (EquispacedMask, 225, 69, "d821455dce88e922"),
    (EquispacedFractionMask, 368, 91, "7cf70fca6bd74ecf"),
    (EquispacedFractionMask, 225, 56, "faeeebaf8dcdaf5d"),
]
LINE_MASKS = list(FASTMRI_COLUMNS)


@pytest.mark.parametrize("kind", LINE_MASKS)
def test_line_masks_equal_fastmri_for_lists(kind):
    mask = kind([0.08, 0.04], [4, 8])((640, 225), volume_seed(KNEE))
    assert mask.shape == (640, 225) and mask.dtype == torch.float32
    assert torch.equal(mask, mask[:1].expand_as(mask))
    assert mask[0].nonzero().flatten().tolist() == FASTMRI_COLUMNS[kind]


@pytest.mark.parametrize(("kind", "width", "count", "digest"), FASTMRI_DIGESTS)
def test_line_masks_equal_fastmri_for_numbers(kind, width, count, digest):
    columns = kind(0.08, 4)((8, width), volume_seed(BRAIN))[0].bool().numpy()
    assert columns.sum() == count
    assert hashlib.sha256(np.packbits(columns).tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("kind", LINE_MASKS)
def test_a_pair_is_drawn_from_a_list(kind):
    mask = kind([0.08, 0.04], [4, 8])
    numbers = {achieved_acceleration(mask((1, 368), seed)) > 5 for seed in range(20)}
    assert numbers == {True, False}


def test_equispaced_fraction_meets_the_acceleration_where_equispaced_does_not():
    shape = (1, 368)
    assert achieved_acceleration(EquispacedFractionMask(0.08, 4)(shape, 0)) == pytest.approx(
        4, 0.02
    )
    assert achieved_acceleration(EquispacedMask(0.08, 4)(shape, 0)) == pytest.approx(3.25, 0.02)
    random = [achieved_acceleration(RandomMask(0.08, 4)(shape, seed)) for seed in range(50)]
    assert np.mean(random) == pytest.approx(4, 0.05) and np.std(random) > 0.1


@pytest.mark.parametrize(
    "mask", [RandomMask(), EquispacedMask(), EquispacedFractionMask(), PoissonDiscMask(6.0, 8)]
)
def test_the_seed_alone_decides(mask):
    first = mask((64, 96), 7)
    np.random.rand()  # noqa: NPY002 - the global generator plays no part
    assert torch.equal(first, mask((64, 96), 7))
    assert any(not torch.equal(first, mask((64, 96), seed)) for seed in range(8, 12))


def test_uniform_mask_of_the_reference_figures():
    mask = UniformMask(3, 24)((230, 180))
    assert achieved_acceleration(mask) == pytest.approx(180 / 76)
    assert mask[0, ::3].all() and mask[0, 78:102].all() and not mask[0, 1]
    rows = UniformMask(4, 0, axis=-2)((10, 6))
    assert rows.sum(dim=1).tolist() == [6, 0, 0, 0, 6, 0, 0, 0, 6, 0]
    assert torch.equal(FullMask()((2, 5, 6)), torch.ones(5, 6))


@settings(max_examples=25, deadline=None)
@given(
    acceleration=st.floats(1.5, 16),
    calibration=st.integers(0, 12),
    falloff=st.floats(0, 5),
    shape=st.sampled_from([(64, 64), (80, 61), (57, 96)]),
    seed=st.integers(0, 9),
)
def test_poisson_disc_meets_the_acceleration(acceleration, calibration, falloff, shape, seed):
    mask = PoissonDiscMask(acceleration, calibration, falloff)(shape, seed)
    assert achieved_acceleration(mask) == pytest.approx(acceleration, rel=0.05)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    top, left = (n // 2 - calibration // 2 for n in shape)
    assert mask[top : top + calibration, left : left + calibration].all()


def test_poisson_disc_draws_stay_what_they_were():
    mask = PoissonDiscMask(4.0, 13)((61, 48), 7).numpy().astype(bool)
    assert hashlib.sha256(mask.tobytes()).hexdigest()[:16] == "6da7eb94d77d5877"


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [((64, 48), (6, 58), (10, 38)), ((61, 47), (5, 56), (0, 47)), ((40, 60), (0, 40), (0, 51))],
    ids=["padded", "odd", "partial Fourier"],
)
def test_poisson_disc_meets_the_acceleration_where_a_padded_scan_encodes(shape, rows, columns):
    mask = PoissonDiscMask(3.0, 10)(shape, 1, encoded=(rows, columns))
    inside = mask[slice(*rows), slice(*columns)]
    assert inside.sum() == mask.sum()
    assert achieved_acceleration(inside) == pytest.approx(3, rel=0.05)
    height, width = (n // 2 - 5 for n in shape)  # the calibration lies at the centre of k-space
    assert bool(mask[height : height + 10, width : width + 10].all())
    assert min(calibration_size(mask)) >= 10


def test_poisson_disc_of_symmetric_padding_is_that_of_the_encoded_matrix():
    mask = PoissonDiscMask(3.0, 8)
    padded = mask((64, 47), 5, encoded=((10, 54), (4, 43)))
    assert torch.equal(padded[10:54, 4:43], mask((44, 39), 5))


def test_poisson_disc_refuses_a_calibration_beyond_what_is_encoded():
    with pytest.raises(ValueError, match="`calibration` must be at most 8, got 9"):
        PoissonDiscMask(3.0, 9)((40, 40), encoded=((0, 40), (0, 24)))


def test_fastmri_lines_are_drawn_across_the_padding():
    mask = RandomMask(0.08, 4)
    assert torch.equal(mask((20, 36), 3, encoded=((0, 20), (4, 30))), mask((20, 36), 3))


def test_poisson_disc_keeps_its_distance_and_is_denser_at_the_centre():
    mask = PoissonDiscMask(10.0, 0, 0.0)((128, 128), 0)
    points = np.argwhere(mask.numpy())
    nearest = cKDTree(points).query(points, k=2)[0][:, 1]
    # random points of this density would be closer than 2 in 3 cases of 4
    assert nearest.min() >= 2
    dense = PoissonDiscMask(10.0, 0, 3.0)((128, 128), 0)
    centre, edge = dense[48:80, 48:80].mean(), dense[48:80, :16].mean()
    assert centre > 4 * edge > 0
    assert mask[0, 0] == 0 and mask[:12, :12].sum() == 0  # corners are left out
    assert PoissonDiscMask(4.0, 0, 0.0, elliptical=False)((64, 64))[:12, :12].sum() > 10


def test_calibration_size_by_brute_force():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        height, width = torch.randint(1, 9, (2,), generator=generator).tolist()
        mask = (torch.rand(height, width, generator=generator) < 0.8).float()
        areas = {(0, 0): 0}
        for h in range(1, height + 1):
            for w in range(1, width + 1):
                top, left = height // 2 - h // 2, width // 2 - w // 2
                if mask[top : top + h, left : left + w].all():
                    areas[h, w] = h * w
        size = calibration_size(mask)
        assert areas[size] == max(areas.values())


def test_masks_are_built_from_a_configuration():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--mask", type=SamplingMask)
    build = getattr(parser, "instantiate", None) or parser.instantiate_classes
    two = ["--mask.center_fraction=[0.08, 0.04]", "--mask.acceleration=[4, 8]"]
    for name, arguments, expected in [
        ("PoissonDiscMask", ["--mask.acceleration=5"], PoissonDiscMask(5.0)),
        ("sampling.RandomMask", two, RandomMask([0.08, 0.04], [4, 8])),
        ("EquispacedFractionMask", [], EquispacedFractionMask(0.08, 4)),
        ("UniformMask", ["--mask.factor=2"], UniformMask(2)),
        ("FullMask", [], FullMask()),
    ]:
        arguments = [f"--mask=monarch_sciml.physics.{name}", *arguments]
        assert build(parser.parse_args(arguments)).mask == expected


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: RandomMask(0.3, 4)((8, 100)), r"30 central columns .* 120 >= 100\. Lower"),
        (lambda: EquispacedFractionMask(0.25, 4)((8, 100)), r"100 >= 100\. Lower"),
        (lambda: EquispacedMask(0.08, 3.5), "must be whole for equally spaced"),
        (lambda: RandomMask([0.08], [4, 8]), "1 and 2 values"),
        (lambda: RandomMask(1.2, 4), "between 0 and 1, got 1.2"),
        (lambda: RandomMask(0.1, 0.5), "at least 1, got 0.5"),
        (lambda: RandomMask(0.1, float("nan")), "at least 1, got nan"),
        (lambda: EquispacedMask(0.1, float("inf")), "finite and at least 1, got inf"),
        (lambda: UniformMask(3, 24)((30, 20)), "at most 20 lines along axis -1, got 24"),
        (lambda: UniformMask(3, 24, axis=0), "one of -1, -2, got 0"),
        (lambda: PoissonDiscMask(20.0, 24)((64, 64)), r"between 1\.\d+ and 7\.11 on 64 x 64"),
        (lambda: PoissonDiscMask(1.1, 24)((64, 64)), "must lie between"),
        (lambda: PoissonDiscMask(2.0, 24)((64, 20)), "at most 20, got 24"),
        (lambda: PoissonDiscMask(4.0, 24, -1.0), "zero or positive and finite, got -1"),
        (lambda: FullMask()((8,)), r"rows and columns, got \(8,\)"),
        (lambda: achieved_acceleration(torch.zeros(3, 4)), "none of 12"),
        (lambda: calibration_size(torch.ones(4)), r"two axes \(H, W\), got \(4,\)"),
    ],
)
def test_bad_input(make, text):
    with pytest.raises(ValueError, match=text) as error:
        make()
    assert "\n" not in str(error.value)
