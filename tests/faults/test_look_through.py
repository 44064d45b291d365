"""A file of many alike data sets is looked through quickly, and one that differs is still found."""

import h5py
import numpy as np
import pytest

from monarch_sciml._hdf5_inspection import look_through

GROUPS = 12
VALUES = np.arange(24.0, dtype="f4").reshape(4, 6)


@pytest.fixture
def opened(monkeypatch):
    """The names of the objects that were opened."""
    names, before = [], h5py.h5o.open

    def noted(group, name, **options):
        names.append(name)
        return before(group, name, **options)

    monkeypatch.setattr(h5py.h5o, "open", noted)
    return names


def write(path, last=None, **options):
    """Three kinds of data sets in each of the groups; `last` writes one more into the last."""
    with h5py.File(path, "w", **options) as file:
        for number in range(GROUPS):
            group = file.create_group(f"{number:04d}")
            group.create_dataset("values", data=VALUES * number, track_times=True)
            group.create_dataset("packed", data=VALUES + number, chunks=(2, 6), compression=1)
            group["x"] = np.arange(6.0) + number
        if last is not None:
            last(group)
    return path


@pytest.mark.parametrize("block", [0, 512])  # MATLAB 7.3 has one
def test_data_sets_like_one_before_are_not_opened(tmp_path, opened, block):
    assert look_through(write(tmp_path / "a.h5", userblock_size=block)) == ""
    assert len(opened) == GROUPS + 3
    assert {b"values", b"packed", b"x"} <= set(opened)


@pytest.mark.parametrize("libver", ["v110", "latest"])
def test_headers_of_other_versions_are_all_opened(tmp_path, opened, libver):
    assert look_through(write(tmp_path / "a.h5", libver=(libver, libver))) == ""
    assert len(opened) == 4 * GROUPS


def attribute(group):
    made = group.create_dataset("y", data=VALUES)
    made.attrs["note"] = "text"


def another_type(group):
    group["y"] = VALUES.astype("i8")


def another_shape(group):
    group["y"] = VALUES.T


@pytest.mark.parametrize("last", [attribute, another_type, another_shape])
def test_a_data_set_that_differs_is_opened(tmp_path, opened, last):
    assert look_through(write(tmp_path / "a.h5", last)) == ""
    assert len(opened) == GROUPS + 4 and opened[-1] == b"y"


def outside(group):
    group.create_dataset("y", (4, 6), "f4", external=[("/etc/passwd", 0, 96)])


def virtual(group):
    layout = h5py.VirtualLayout((4, 6), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4, 6))
    group.create_virtual_dataset("y", layout)


def link(group):
    group["y"] = h5py.ExternalLink("/etc/passwd", "x")


def claimed(group):
    group.create_dataset("y", (4, 20000, 20000), "f4", chunks=(1, 100, 100))


FOUND = {
    outside: "values in /etc",
    virtual: "values in /etc",
    link: "a link to",
    claimed: "claimed",
}


@pytest.mark.parametrize("last", FOUND)
def test_what_is_unsafe_is_found_behind_many_that_are_alike(tmp_path, last):
    assert FOUND[last] in look_through(write(tmp_path / "a.h5", last))


def tracked(group):
    group.create_dataset("y", data=VALUES, track_times=True)


def test_only_the_place_of_the_values_and_the_time_may_differ(tmp_path, opened):
    """A bit of every byte in the header of the last data set is changed in turn."""
    path = write(tmp_path / "a.h5", tracked)
    with h5py.File(path, "r") as file:
        places = [
            h5py.h5o.get_info(file[name].id).addr for name in ("0000/values", f"{GROUPS - 1:04d}/y")
        ]
    content = path.read_bytes()
    one, other = (content[place : place + 272] for place in places)
    differing = {k for k in range(272) if one[k] != other[k]}
    assert 0 < len(differing) <= 12  # of the address and the time
    skipped = set()
    for k in range(272):
        changed = bytearray(content)
        changed[places[1] + k] ^= 1
        path.write_bytes(changed)
        opened.clear()
        look_through(path)
        if b"y" not in opened:
            skipped.add(k)
    assert differing <= skipped and len(skipped) == 16
