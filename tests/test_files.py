"""Files are written whole or not at all; a disk that refuses one is one line that names it."""

import errno
import os
from contextlib import contextmanager

import pytest
import torch

from monarch_sciml._files import whole_file
from monarch_sciml.data.images.write import write_image
from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.data.scans.map_files import write_coil_maps
from monarch_sciml.data.scans.scan import Scan


@contextmanager
def small_files(n_bytes):
    """Files of at most so many bytes, as a quota or a full disk has it."""
    resource = pytest.importorskip("resource", reason="needs POSIX limits")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def image(path):
    write_image(path, torch.rand(2, 64, 64))


def maps(path):
    write_coil_maps(path, torch.rand(2, 4, 32, 32).to(torch.complex64), {})


def scan(path):
    write_fastmri(path, Scan(torch.rand(2, 4, 32, 32).to(torch.complex64), name="a"))


WRITERS = [
    (image, "a.h5"), (image, "a.png"), (image, "a.cfl"), (image, "a.nii"), (image, "a.nii.gz"),
    (maps, "a.h5"), (scan, "a.h5"),
]  # fmt: skip


@pytest.mark.parametrize("n_bytes", [0, 3000])
@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, write, name, n_bytes):
    other = tmp_path / "other"
    with small_files(n_bytes), pytest.raises(OSError) as caught:
        write(other / name)
    named = other / name.replace(".cfl", ".hdr")  # the pair is written together
    rule = f"{named} must be writable, got 'File too large'. Free space on the disk "
    assert str(caught.value) == rule + "or name another, then repeat or resume."
    assert not list(other.iterdir())


def test_the_file_before_stays(tmp_path):
    (tmp_path / "a").write_text("before")
    with pytest.raises(OSError, match="No space left"), whole_file(tmp_path / "a", overwrite=True):
        raise RuntimeError(f"deep in a library: {os.strerror(errno.ENOSPC)}\nand more")
    assert (tmp_path / "a").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_made_in_steps_is_named_as_its_user_knows_it(tmp_path):
    path = tmp_path / "a.h5"
    with (
        small_files(0),
        pytest.raises(OSError, match=r"/a\.h5 must be writable, got 'File too large'\. Free"),
        whole_file(path) as part,
    ):
        scan(part)
    assert not list(tmp_path.iterdir())


def test_other_errors_are_left_as_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="mistake"), whole_file(tmp_path / "a"):
        raise RuntimeError("mistake")
