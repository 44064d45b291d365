"""Coil maps from files: formats, axes, sets, slices, and what does not fit."""

import shutil
import subprocess

import h5py
import numpy as np
import pytest
import torch

from monarch_sciml.data.scans.formats.bart import write_cfl
from monarch_sciml.data.scans.map_files import read_coil_maps, write_coil_maps

SHAPE = (3, 4, 6, 5)


@pytest.fixture
def maps():
    return torch.randn(3, 2, 4, 6, 5, dtype=torch.complex64)  # (s, M, c, H, W)


def stored(maps, path):
    """Write (s, M, c, H, W) in the format of the suffix."""
    array = maps.numpy()
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".cfl":
        s, m, c, h, w = array.shape
        dims = (1, h, w, c, m, *[1] * 8, s)
        write_cfl(path, array.transpose(3, 4, 2, 1, 0).reshape(dims))
    else:
        write_coil_maps(path, maps, {"made": "here"})
    return path


@pytest.mark.parametrize("suffix", [".npy", ".cfl", ".h5"])
def test_every_format_and_one_slice(maps, tmp_path, suffix):
    path = stored(maps, tmp_path / f"maps{suffix}")
    assert torch.equal(read_coil_maps(path, SHAPE, n_maps=2), maps)
    assert torch.equal(read_coil_maps(path, SHAPE), maps[:, 0])  # the first set
    assert torch.equal(read_coil_maps(path, SHAPE, slices=range(2, 3)), maps[2:, 0])
    assert torch.equal(read_coil_maps(path, SHAPE, slices=range(1, 2), n_maps=2), maps[1:2])


def test_fewer_axes(maps, tmp_path):
    np.save(tmp_path / "c.npy", maps[0, 0].numpy())
    np.save(tmp_path / "mc.npy", maps[0].numpy())
    np.save(tmp_path / "sc.npy", maps[:, 0].numpy().astype(np.complex128))
    found = read_coil_maps(tmp_path / "c.npy", SHAPE)
    assert torch.equal(found, maps[:1, 0].expand(3, -1, -1, -1))  # for all slices
    assert read_coil_maps(tmp_path / "c.npy", SHAPE, slices=range(2, 3)).shape == (1, 4, 6, 5)
    assert torch.equal(read_coil_maps(tmp_path / "mc.npy", SHAPE, n_maps=2)[1], maps[0])
    found = read_coil_maps(tmp_path / "sc.npy", SHAPE)
    assert found.dtype == torch.complex64 and torch.equal(found, maps[:, 0])


def test_named_data_sets(maps, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["maps"] = maps[:, 0].numpy()
        file["mine"] = maps[:, 1].numpy()
        file["settings"] = "text"
    assert torch.equal(read_coil_maps(tmp_path / "a.h5", SHAPE), maps[:, 0])
    assert torch.equal(read_coil_maps(tmp_path / "a.h5", SHAPE, dataset="mine"), maps[:, 1])
    with pytest.raises(ValueError, match=r"must name one of .*a\.h5: maps .*, got 'other'"):
        read_coil_maps(tmp_path / "a.h5", SHAPE, dataset="other")


@pytest.mark.skipif(not shutil.which("bart"), reason="bart is not installed")
def test_maps_made_by_bart(tmp_path):
    coils = torch.randn(4, 40, 30, dtype=torch.complex64)
    write_cfl(tmp_path / "kspace", coils.permute(1, 2, 0)[None].numpy())
    command = ["bart", "ecalib", "-m2", "-r20", "-c0", "kspace", "maps"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    found = read_coil_maps(tmp_path / "maps", (5, 4, 40, 30), n_maps=2)
    assert found.shape == (5, 2, 4, 40, 30)
    gram = torch.einsum("achw,bchw->hwab", found[0].conj(), found[0])
    torch.testing.assert_close(gram, torch.eye(2, dtype=gram.dtype).expand_as(gram))


def test_what_does_not_fit_is_refused(maps, tmp_path):
    path = stored(maps, tmp_path / "maps.npy")
    cases = [
        (path, (3, 5, 6, 5), {}, r"= \(3, 1, 5, 6, 5\), got \(3, 2, 4, 6, 5\)"),
        (path, (3, 4, 5, 6), {}, r"got \(3, 2, 4, 6, 5\). Use the maps of this scan"),
        (path, (7, 4, 6, 5), {}, r"= \(7, 1, 4, 6, 5\)"),
        (path, SHAPE, {"n_maps": 3}, r"= \(3, 3, 4, 6, 5\)"),
    ]
    broken = tmp_path / "nan.npy"
    np.save(broken, np.full(SHAPE, np.nan, np.complex64))
    cases.append((broken, SHAPE, {}, "nan.npy` must be finite, got 360 NaN"))
    np.save(tmp_path / "real.npy", np.ones(SHAPE))
    cases.append((tmp_path / "real.npy", SHAPE, {}, "must be complex, got float64"))
    np.save(tmp_path / "flat.npy", np.ones((6, 5), np.complex64))
    cases.append((tmp_path / "flat.npy", SHAPE, {}, r"\(3, 1, 4, 6, 5\), got \(6, 5\)"))
    (tmp_path / "text.npy").write_text("hello")
    cases.append((tmp_path / "text.npy", SHAPE, {}, r"text\.npy must be a file of arrays"))
    (tmp_path / "cut.npy").write_bytes(path.read_bytes()[:500])
    cases.append((tmp_path / "cut.npy", SHAPE, {}, "cut.npy must be a complete"))
    for file, shape, options, text in cases:
        with pytest.raises(ValueError, match=text) as error:
            read_coil_maps(file, shape, **options)
        assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="the file must exist"):
        read_coil_maps(tmp_path / "none.npy", SHAPE)
