"""One image for the reference and every method, whatever the mask, its calibration and the maps."""

import re

import numpy as np
import pytest
import torch

from monarch_sciml.commands.reconstruct import Settings, reconstruct
from monarch_sciml.data.scans.formats.bart import write_bart
from monarch_sciml.data.scans.formats.fastmri import read_fastmri, write_fastmri
from monarch_sciml.physics import ifft2c, rss


def run(path, **options):
    known = {"acceleration": 2, "calibration": 12, "progress": False}
    return reconstruct(path, Settings(**{**known, **options}))


def errors(text):
    """NMSE of each method."""
    rows = re.findall(r"^(zero_filled|cg_sense|l1_wavelet) +(\S+)", text, re.M)
    return {name: float(value) for name, value in rows}


@pytest.fixture
def scan(make_scan):
    return make_scan(shape=(48, 40), n_coils=6, n_slices=1, noise=0.01)


def test_the_reference_does_not_depend_on_the_mask(tmp_path, scan):
    write_bart(tmp_path / "k.cfl", scan.kspace)
    found = {}
    for lines in (24, 10, 7):
        run(tmp_path / "k.cfl", calibration=lines, method="zero_filled",
            output=tmp_path / f"{lines}.h5")  # fmt: skip
        found[lines] = read_fastmri(tmp_path / f"{lines}.h5").target
    assert torch.equal(found[24], found[10]) and torch.equal(found[24], found[7])
    # it shows the whole object
    whole = rss(ifft2c(scan.kspace))
    lit = whole > 0.2 * whole.max()
    assert (found[7] / whole)[lit].min() > 0.9


@pytest.mark.parametrize("source", ["stored", "file"])
def test_maps_scaled_by_a_smooth_function_change_no_error(tmp_path, scan, source):
    shade = 0.3 + torch.linspace(0, 2, 48)[:, None] * torch.linspace(1, 0.5, 40)
    texts = {}
    for name, factor in (("plain", 1.0), ("shaded", shade)):
        scaled = read_scaled = scan.coil_maps * factor
        path = tmp_path / f"{name}.h5"
        if source == "stored":
            scan.coil_maps, kept = scaled, scan.coil_maps
            scan.target = None
            write_fastmri(path, scan, attributes={"patient_id": "a"})
            scan.coil_maps = kept
            (tmp_path / name).mkdir()
            path = path.rename(tmp_path / name / "scan.h5")  # the name decides on the mask
            texts[name] = run(path, coil_maps="stored")
        else:
            write_bart(tmp_path / "k.cfl", scan.kspace, overwrite=True)
            np.save(tmp_path / f"{name}.npy", read_scaled.numpy())
            texts[name] = run(tmp_path / "k.cfl", coil_maps=tmp_path / f"{name}.npy")
    plain, shaded = errors(texts["plain"]), errors(texts["shaded"])
    assert plain.keys() == {"zero_filled", "cg_sense", "l1_wavelet"}
    assert shaded == pytest.approx(plain, rel=1e-3)
    assert plain["cg_sense"] < plain["zero_filled"]
    assert "norm of the coil maps was" in texts["shaded"] and "norm" not in texts["plain"]


def test_where_maps_are_missing_is_said_and_counts(tmp_path, scan):
    write_bart(tmp_path / "k.cfl", scan.kspace)
    full = run(tmp_path / "k.cfl", method="cg_sense")
    maps = scan.coil_maps.clone()
    maps[..., :20, 12:20] = 0
    np.save(tmp_path / "holes.npy", maps.numpy())
    text = run(tmp_path / "k.cfl", method="cg_sense", coil_maps=tmp_path / "holes.npy")
    assert re.search(r"note: +\d+ % of the object has no coil map and stays black", text)
    assert errors(text)["cg_sense"] > 5 * errors(full)["cg_sense"]  # of the whole object
    maps[..., :30, :] = 0
    np.save(tmp_path / "holes.npy", maps.numpy())
    with pytest.raises(ValueError, match=r"must cover the object but for 25 %, got \d+ % without"):
        run(tmp_path / "k.cfl", coil_maps=tmp_path / "holes.npy")


def test_kspace_is_moved_with_its_peak_to_the_centre(tmp_path, scan):
    for name, rows, columns in (("centred", 0, 0), ("moved", 7, -5)):
        (tmp_path / name).mkdir()
        write_bart(tmp_path / name / "k.cfl", scan.kspace.roll((rows, columns), (-2, -1)))
    centred, moved = (run(tmp_path / name / "k.cfl") for name in ("centred", "moved"))
    assert "peak" not in centred
    assert "the peak of k-space lies 7 rows and 5 columns off its centre" in moved
    assert errors(moved) == pytest.approx(errors(centred), rel=1e-3)
