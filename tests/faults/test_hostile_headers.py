"""Headers that are valid and lie: sizes that no memory holds, numbers out of range, other files.

Every file is a few kilobytes. It is read, or refused in one line, in little time and memory.
"""

import importlib.util
import io
import json
import os
import pickle
import resource
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from forking import fork

spec = importlib.util.spec_from_file_location("valid", Path(__file__).with_name("valid_files.py"))
valid = importlib.util.module_from_spec(spec)
spec.loader.exec_module(valid)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="measures a forked process")

HUGE = 10**6
SECONDS, MOST = 5, 2**27
"""Of computing; bytes."""


def claimed(path, name, shape, dtype="f4", chunks=None, **attributes):
    """Put a data set of another size, whose values were never written, in the place of one."""
    with h5py.File(path, "r+") as file:
        if name in file:
            attributes = dict(file[name].attrs) | attributes
            del file[name]
        chunks = chunks or tuple(min(n, 64) for n in shape)
        made = file.create_dataset(name, shape, dtype, chunks=chunks if all(shape) else None)
        made.attrs.update(attributes)


def attribute(path, name, **values):
    with h5py.File(path, "r+") as file:
        (file[name] if name else file).attrs.update(values)


def header(path, old, new):
    """Change the XML header of an ISMRMRD file."""
    assert old in valid.HEADER
    valid.write_ismrmrd(path, valid.HEADER.replace(old, new))


def heads(path, **values):
    """Change fields of all acquisition headers of an ISMRMRD file."""
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"][()]
        for name, value in values.items():
            place = rows["head"]
            for part in name.split("__")[:-1]:
                place = place[part]
            place[name.split("__")[-1]] = value
        file["dataset/data"][...] = rows


def linked(path, name, target, inside="kspace"):
    """Put a link to another file in the place of a data set."""
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        file[name] = h5py.ExternalLink(target, inside)


def raw_storage(path, name, target, shape, dtype="c8"):
    """Put values that lie in another file in the place of a data set."""
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        file.create_dataset(name, shape, dtype, external=[(target, 0, h5py.h5f.UNLIMITED)])


def npy(path, shape, dtype="<c8", content=b"", order=False):
    text = f"{{'descr': {dtype!r}, 'fortran_order': {order}, 'shape': {shape}, }}"
    with path.open("wb") as stream:
        stream.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1))
        stream.write(text.encode() + b"\n" + content)


def npz(path, shape, dtype="<f4"):
    member = io.BytesIO()
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in "xy":
            archive.writestr(f"{name}.npy", member.getvalue())


def bomb(path):
    """An archive that unpacks to a thousand times its size."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 1000, 1000), }\n"
        start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
        for name in "xy":
            archive.writestr(f"{name}.npy", start + bytes(10**6))


def bart(path, dims):
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{dims}\n")


def mat5(path, dims, *, packed=False):
    """A .mat file of one array of doubles with these sizes and few values."""
    flags = struct.pack("<IIII", 6, 8, 6, 0)
    sizes = struct.pack("<II", 5, 4 * len(dims)) + struct.pack(f"<{len(dims)}i", *dims)
    sizes += bytes(-len(sizes) % 8)
    body = flags + sizes + struct.pack("<HH", 1, 1) + b"u\0\0\0" + struct.pack("<II", 9, 80)
    body += bytes(80)
    block = struct.pack("<II", 14, len(body)) + body
    if packed:
        content = zlib.compress(block)
        block = struct.pack("<II", 15, len(content)) + content
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + block)


def in_json(folder, part, **values):
    path = folder / part
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def sizes_in_bytes(path, old, new):
    """Replace big-endian or little-endian bytes of a file."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def twix_field(path, offset, value, form="<H"):
    """Change a field of the first readout's header of a twix file."""
    content = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<Q", content, 16)
    (length,) = struct.unpack_from("<I", content, at)
    struct.pack_into(form, content, at + length + offset, value)
    path.write_bytes(bytes(content))


def twix_text(path, text):
    """Replace the protocol of a twix file by text of the same length."""
    content = path.read_bytes()
    start = content.index(b"sSliceArray")
    end = content.index(b"tProtocolName", start)
    path.write_bytes(content[:start] + text.ljust(end - start)[: end - start] + content[end:])


def twix_entry(path, offset, value, form="<Q"):
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, offset, value)
    path.write_bytes(bytes(content))


def old_pickle(folder):
    """An array in the old layout, whose values are a pickle that leaves a mark."""
    shutil.rmtree(folder)
    (folder / "u").mkdir(parents=True)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    array = {"zarr_format": 2, "shape": [4, 5, 8], "chunks": [4, 5, 8], "dtype": "|O", "order": "C",
             "compressor": None, "fill_value": None, "filters": [{"id": "pickle"}]}  # fmt: skip
    (folder / "u" / ".zarray").write_text(json.dumps(array))
    (folder / "u" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["sample", "time", "x"]}')
    mark = folder.parent / "it-ran"
    (folder / "u" / "0.0.0").write_bytes(pickle.dumps(Attack(mark)))


class Attack:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def link(path, target):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    path.symlink_to(target)


def pipe(path):
    """A pipe, which waits for another program when it is opened."""
    path.unlink()
    os.mkfifo(path)


def spec_sizes(folder, **values):
    path = folder / "spec.json"
    known = json.loads(path.read_text())
    known["network_arguments"] |= values
    path.write_text(json.dumps(known))


def recipe(folder, old, new):
    path = folder / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def strided_tensor(path):
    """A tensor of one value whose strides make it seem 10^12 of them."""
    torch.save({"x": torch.zeros(1).expand(HUGE, HUGE), "y": torch.zeros(1).expand(HUGE, 1)}, path)


def legacy_count(path):
    """Storages of a file in torch's old format that claim two thousand million values."""
    x = torch.zeros(70_000)
    torch.save({"x": x, "y": x + 1}, path, _use_new_zipfile_serialization=False)
    count = b"J" + struct.pack("<i", len(x))
    assert path.read_bytes().count(count) > 2
    path.write_bytes(path.read_bytes().replace(count, b"J" + struct.pack("<i", 2**31 - 1)))


COLUMNS = "kspace_encode_step_1"
HOSTILE = {
    # data sets of HDF5 that were never written
    "own.h5": {
        "fields": lambda p: claimed(p, "fields/u", (3, 2, 20000, 20000)),
        "samples": lambda p: claimed(p, "fields/u", (10**12, 2, 8)),
        "completed": lambda p: claimed(p, "completed", (10**11,), "u1"),
        "times": lambda p: claimed(p, "coordinates/time", (10**11,), "f8"),
        "points": lambda p: claimed(p, "coordinates/x", (10**11,), "f8"),
        "no fields": lambda p: attribute(p, "", fields="[]"),
        "fields elsewhere": lambda p: attribute(p, "", fields='["../coordinates/x"]'),
        "fields of a number": lambda p: attribute(p, "", fields="3"),
        "version": lambda p: attribute(p, "", format_version=1e300),
        "extent": lambda p: attribute(p, "", domain_extent=[1e999]),
        "boundary": lambda p: attribute(p, "", boundary='[["periodic"]]'),
        "deep parameters": lambda p: attribute(p, "", parameters="[" * 30000),
        "digits": lambda p: attribute(p, "", parameters="9" * 30000),
        "seed": lambda p: attribute(p, "", seed=np.nan),
        "a block of 20000²": lambda p: claimed(
            p, "fields/u", (3, 2, 20000, 20000), chunks=(1, 1, 20000, 20000)
        ),
    },
    "bench.hdf5": {
        "slices": lambda p: claimed(p, "tensor", (4, 5, 20000, 20000)),
        "grid": lambda p: claimed(p, "tensor", (HUGE, HUGE, 8)),
        "points": lambda p: claimed(p, "x-coordinate", (10**11,), "f8"),
        "times": lambda p: claimed(p, "t-coordinate", (10**11,), "f8"),
        "no axes": lambda p: claimed(p, "tensor", (1,)),
        "empty": lambda p: claimed(p, "tensor", (0, 5, 8)),
        "text": lambda p: claimed(p, "tensor", (4, 5, 8), h5py.string_dtype()),
        "parameter": lambda p: attribute(p, "", Re=np.nan),
    },
    "seeds.hdf5": {
        "data": lambda p: claimed(p, "0000/data", (HUGE, HUGE, 1)),
        "another": lambda p: claimed(p, "0001/data", (HUGE, HUGE, 1)),
        "channels": lambda p: claimed(p, "0000/data", (5, 8, HUGE)),
        "times": lambda p: claimed(p, "0000/grid/t", (10**11,), "f8"),
    },
    "incompressible.h5": {
        "times": lambda p: claimed(p, "t", (2, 10**11), "f8"),
        "grid": lambda p: claimed(p, "velocity", (2, 3, HUGE, HUGE, 2)),
        "channels": lambda p: claimed(p, "velocity", (2, 3, 4, 4, 5 * HUGE)),
    },
    "well.hdf5": {
        "trajectories": lambda p: attribute(p, "", n_trajectories=10**15),
        "nan trajectories": lambda p: attribute(p, "", n_trajectories=np.nan),
        "no trajectories": lambda p: attribute(p, "", n_trajectories=-1),
        "points": lambda p: claimed(p, "dimensions/x", (10**11,), "f8"),
        "times": lambda p: claimed(p, "dimensions/time", (10**11,), "f8"),
        "mask": lambda p: claimed(p, "boundary_conditions/x_PERIODIC/mask", (10**12,), "?"),
        "names": lambda p: attribute(p, "t0_fields", field_names=["../t1_fields/v"]),
        "dims": lambda p: attribute(p, "dimensions", spatial_dims=["../../x"] * 9),
        "condition": lambda p: attribute(p, "boundary_conditions/x_PERIODIC", bc_type=1e999),
        "varying": lambda p: attribute(p, "t0_fields/p", sample_varying="yes"),
    },
    "plain.h5": {
        "sizes": lambda p: [claimed(p, name, (HUGE, HUGE)) for name in ("input", "output")],
        "text": lambda p: claimed(p, "input", (10**9,), h5py.string_dtype()),
        "link outside": lambda p: linked(p, "input", "/etc/passwd"),
        "link above": lambda p: linked(p, "input", "../whole/own.h5"),
        "link to itself": lambda p: linked(p, "input", "plain.h5", "input"),
        "raw values": lambda p: raw_storage(p, "input", "/etc/passwd", (4, 8), "u1"),
        "raw values above": lambda p: raw_storage(p, "input", "../secret", (4, 8), "u1"),
    },
    "v73.mat": {
        "sizes": lambda p: [claimed(p, name, (HUGE, HUGE)) for name in "au"],
        "link": lambda p: linked(p, "a", "/etc/passwd"),
    },
    "scan.h5": {
        "slices of 20000²": lambda p: claimed(p, "kspace", (2, 2, 20000, 20000), "c8"),
        "10⁶ x 10⁶": lambda p: claimed(p, "kspace", (2, 2, HUGE, HUGE), "c8"),
        "blocks of one": lambda p: claimed(p, "kspace", (2, 2, 500, 500), "c8", chunks=(1,) * 4),
        "10⁹ slices": lambda p: claimed(p, "kspace", (10**9, 2, 16, 16), "c8"),
        "10⁹ coils": lambda p: claimed(p, "kspace", (2, 10**9, 16, 16), "c8"),
        "blocks of 20000²": lambda p: claimed(
            p, "kspace", (2, 2, 20000, 20000), "c8", chunks=(1, 1, 20000, 20000)
        ),
        "mask": lambda p: claimed(p, "mask", (10**11,), "?"),
        "mask of volumes": lambda p: claimed(p, "mask", (10**6, 10**6), "?"),
        "coil maps": lambda p: claimed(p, "coil_maps", (2, 2, HUGE, HUGE), "c8"),
        "target": lambda p: claimed(p, "target", (2, HUGE, HUGE)),
        "reference": lambda p: claimed(p, "reconstruction_rss", (2, HUGE, HUGE)),
        "reference of three": lambda p: claimed(p, "reconstruction_rss", (7,)),
        "header of 10⁹": lambda p: claimed(p, "ismrmrd_header", (10**9,), "S100"),
        "empty header": lambda p: claimed(p, "ismrmrd_header", (0,), "S1"),
        "row padding of one number": lambda p: attribute(p, "", row_padding="[3]"),
        "row padding of words": lambda p: attribute(p, "", row_padding='["a", "b"]'),
        "row padding beyond": lambda p: attribute(p, "", row_padding="[-5, 1e99]"),
        "row padding without end": lambda p: attribute(p, "", row_padding="[" * 9000),
        "transformed": lambda p: attribute(p, "", transformed="[[1]]"),
        "link": lambda p: linked(p, "kspace", "/etc/passwd"),
        "link above": lambda p: linked(p, "kspace", "../whole/scan.h5"),
        "raw values": lambda p: raw_storage(p, "kspace", "../secret", (2, 2, 16, 16)),
    },
    "skm_tea.h5": {
        "10⁶ x 10⁶": lambda p: claimed(p, "kspace", (3, HUGE, HUGE, 2, 2), "c8"),
        "maps": lambda p: claimed(p, "maps", (3, HUGE, HUGE, 2, 1), "c8"),
        "no echo": lambda p: claimed(p, "kspace", (3, 16, 16, 0, 2), "c8"),
        "no slices": lambda p: claimed(p, "kspace", (0, 16, 16, 2, 2), "c8"),
        "masks": lambda p: claimed(p, "masks/poisson_4.0x", (HUGE, HUGE), "?"),
    },
    "calgary.h5": {
        "10⁶ x 10⁶": lambda p: claimed(p, "kspace", (3, HUGE, HUGE, 4)),
        "20000²": lambda p: claimed(p, "kspace", (3, 20000, 20000, 4)),
        "no channels": lambda p: claimed(p, "kspace", (3, 16, 16, 0)),
    },
    "mrd.h5": {
        "matrix 1e999": lambda p: header(p, "<x>32</x>", "<x>1e999</x>"),
        "matrix nan": lambda p: header(p, "<x>32</x>", "<x>nan</x>"),
        "matrix 10⁶ x 10⁶": lambda p: header(
            p, "<x>32</x><y>16</y>", "<x>1000000</x><y>1000000</y>"
        ),
        "matrix 20000²": lambda p: header(p, "<x>32</x><y>16</y>", "<x>40000</x><y>20000</y>"),
        "readout of 10⁹": lambda p: header(p, "<x>32</x>", "<x>1000000000</x>"),
        "partitions": lambda p: header(p, "<z>1</z>", "<z>1000000000</z>"),
        "negative": lambda p: header(p, "<x>16</x>", "<x>-16</x>"),
        "digits": lambda p: header(p, "<x>16</x>", f"<x>{'9' * 5000}</x>"),
        "field of view": lambda p: header(p, "<x>480</x>", "<x>1e300</x>"),
        "field of view nan": lambda p: header(p, "<x>240</x>", "<x>nan</x>"),
        "centre": lambda p: header(p, "<center>8</center>", "<center>-99999999999</center>"),
        "maximum": lambda p: header(p, "<maximum>15</maximum>", "<maximum>9999999999</maximum>"),
        "entities": lambda p: header(
            p, '<?xml version="1.0"?>',
            '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "' + "1" * 1000 + '">'
            + "".join(f'<!ENTITY a{i} "{f"&a{i - 1 or str()};" * 10}">' for i in range(1, 9))
            + "]>",
        ),
        "escape": lambda p: header(p, "cartesian", "&#x9b;2J"),
        "path": lambda p: header(p, "cartesian", "../../../etc/passwd"),
        "ramps": lambda p: header(
            p, "</trajectory>",
            "</trajectory><trajectoryDescription>" + "".join(
                f"<userParameterDouble><name>{name}</name><value>1e308</value>"
                "</userParameterDouble>"
                for name in ("rampUpTime", "flatTopTime", "rampDownTime", "acqDelayTime",
                             "dwellTime")
            ) + "</trajectoryDescription>",
        ),
        "samples": lambda p: heads(p, number_of_samples=65535),
        "coils": lambda p: heads(p, active_channels=65535),
        "no coils": lambda p: heads(p, active_channels=0),
        "no samples": lambda p: heads(p, number_of_samples=0),
        "slices": lambda p: heads(p, idx__slice=65535),
        "lines": lambda p: heads(p, idx__kspace_encode_step_1=65535),
        "partition": lambda p: heads(p, idx__kspace_encode_step_2=65535),
        "center sample": lambda p: heads(p, center_sample=65535),
        "discarded": lambda p: heads(p, discard_pre=65535),
        "encoding": lambda p: heads(p, encoding_space_ref=65535),
        "position": lambda p: heads(p, position=np.nan, slice_dir=np.inf),
        "flags": lambda p: heads(p, flags=2**64 - 1),
        "acquisitions": lambda p: claimed(p, "dataset/data", (10**10,), valid.ROW, chunks=(64,)),
        "no header": lambda p: claimed(p, "dataset/xml", (0,), "S1"),
        "header of 10⁹": lambda p: claimed(p, "dataset/xml", (10**9,), "S100"),
        "link above": lambda p: linked(p, "dataset/xml", "../whole/mrd.h5", "dataset/xml"),
        "link outside": lambda p: linked(p, "dataset/data", "/etc/passwd"),
    },
    "twix.dat": {
        "measurements": lambda p: twix_entry(p, 4, 64, "<I"),
        "offset": lambda p: twix_entry(p, 16, 2**39),
        "length": lambda p: twix_entry(p, 24, 2**63),
        "header": lambda p: twix_entry(p, 10240, 2**31, "<I"),
        "buffers": lambda p: twix_entry(p, 10244, 2**31, "<I"),
        "samples": lambda p: twix_field(p, 48, 65535),
        "coils": lambda p: twix_field(p, 50, 65535),
        "line": lambda p: twix_field(p, 52, 65535),
        "slice": lambda p: twix_field(p, 56, 65535),
        "partition": lambda p: twix_field(p, 58, 65535),
        "10⁹ slices": lambda p: twix_text(p, b"sSliceArray.asSlice[999999999].d = 1\n"),
        "voxels": lambda p: twix_text(p, b"sSliceArray.asSlice[0].dReadoutFOV = 1e999\n"),
        "lines": lambda p: twix_text(p, b"sKSpace.lPhaseEncodingLines = 999999999999\n"),
        "dwell": lambda p: twix_text(p, b"sRXSPEC.alDwellTime[9] = text\n"),
    },
    "bart.cfl": {
        "10⁶ x 10⁶": lambda p: bart(p, "1000000 1000000 1 2"),
        "overflow": lambda p: bart(p, "4294967296 4294967296 4294967296 4294967296"),
        "digits": lambda p: bart(p, "9" * 5000),
        "none": lambda p: bart(p, ""),
        "zero": lambda p: bart(p, "0 16 1 2"),
        "negative": lambda p: bart(p, "-16 -16 1 2 1 1 1 1 1 1 1 1 1 2"),
        "words": lambda p: bart(p, "../../etc/passwd"),
        "arabic digits": lambda p: bart(p, "١٦ 16 1 2 1 1 1 1 1 1 1 1 1 2"),
    },
    "kspace.npy": {
        "10⁶ x 10⁶": lambda p: npy(p, (2, HUGE, HUGE)),
        "overflow": lambda p: npy(p, (2**40, 2**40)),
        "negative": lambda p: npy(p, (-2, -16, -16), content=bytes(4096)),
        "zero": lambda p: npy(p, (2, 0, 16)),
        "bool": lambda p: npy(p, (True, 2, 2), content=bytes(4096)),
        "objects": lambda p: npy(p, (2, 2, 2), "|O", bytes(64)),
        "no items": lambda p: npy(p, (2, HUGE, HUGE), "|V0"),
        "text": lambda p: npy(p, (2, 2, 2), "|S1000000000"),
        "axes": lambda p: npy(p, (1,) * 60 + (16, 16), content=bytes(2048)),
        "expression": lambda p: npy(p, "(2,) * 10**9"),
        "nested": lambda p: npy(p, "(" * 400 + ")" * 400),
    },
    "pair.npz": {
        "10⁶ x 10⁶": lambda p: npz(p, (HUGE, HUGE)),
        "bomb": bomb,
        "negative": lambda p: npz(p, (-3, 4)),
        "no items": lambda p: npz(p, (HUGE, HUGE), "|V0"),
        "objects": lambda p: npz(p, (3, 4), "|O"),
    },
    "pair.pt": {"strides": strided_tensor, "pipe": pipe, "zeros": lambda p: link(p, "/dev/zero")},
    "legacy.pt": {"values": legacy_count},
    "v5.mat": {
        "10⁶ x 10⁶": lambda p: mat5(p, (HUGE, HUGE)),
        "20000²": lambda p: mat5(p, (20000, 20000)),
        "overflow": lambda p: mat5(p, (2**31 - 1, 2**31 - 1)),
        "negative": lambda p: mat5(p, (-5, 2)),
        "zero": lambda p: mat5(p, (0, 0)),
        "packed 10⁶ x 10⁶": lambda p: mat5(p, (HUGE, HUGE), packed=True),
        "axes": lambda p: mat5(p, (1,) * 100),
    },
    "kspace.mat": {"10⁶ x 10⁶": lambda p: mat5(p, (2, HUGE, HUGE))},
    "classic.nc": {
        "sizes": lambda p: sizes_in_bytes(p, struct.pack(">I", 8), struct.pack(">I", 2**31 - 1)),
        "samples": lambda p: sizes_in_bytes(p, struct.pack(">I", 4), struct.pack(">I", 2**30)),
    },
    "four.nc": {
        "sizes": lambda p: claimed(p, "u", (HUGE, HUGE, 8)),
        "points": lambda p: claimed(p, "x", (10**11,), "f8"),
        "link": lambda p: linked(p, "u", "/etc/passwd"),
    },
    "store.zarr": {
        "sizes": lambda p: in_json(p, "u/zarr.json", shape=[HUGE, HUGE, 8]),
        "points": lambda p: in_json(p, "x/zarr.json", shape=[10**12]),
        "negative": lambda p: in_json(p, "u/zarr.json", shape=[-1, 5, 8]),
        "chunks": lambda p: in_json(
            p, "u/zarr.json",
            chunk_grid={"name": "regular", "configuration": {"chunk_shape": [HUGE, HUGE, 8]}},
        ),
        "codec": lambda p: in_json(p, "u/zarr.json", codecs=[{"name": "pickle"}]),
        "fill": lambda p: in_json(p, "u/zarr.json", fill_value="1e999"),
        "pickle": lambda p: in_json(p, "u/zarr.json", codecs=[{"name": "numcodecs.pickle"}]),
        "old pickle": old_pickle,
        "a link out of the store": lambda p: link(p / "u" / "c" / "0" / "0" / "0", "/etc/passwd"),
        "a folder out of the store": lambda p: link(p / "u" / "c", p.parent.parent),
    },
    "maps.npy": {"10⁶ x 10⁶": lambda p: npy(p, (2, 2, HUGE, HUGE))},
    "mask.npz": {"10⁶ x 10⁶": lambda p: npz(p, (HUGE, HUGE), "|b1")},
    "run": {
        "modes": lambda p: recipe(p, "- 4", "- 1000000000"),
        "width": lambda p: recipe(p, "hidden_channels: 2", "hidden_channels: 1000000000"),
        "layers": lambda p: recipe(p, "n_layers: 1", "n_layers: 1000000000"),
        "nan layers": lambda p: recipe(p, "n_layers: 1", "n_layers: .nan"),
        "grid": lambda p: spec_sizes(p, grid_shape=[10**12]),
        "axes": lambda p: spec_sizes(p, grid_shape=[2] * 100),
        "channels": lambda p: spec_sizes(p, in_channels=10**12),
        "data": lambda p: recipe(p, "n_train: 1", "n_train: 1000000000000"),
    },
}  # fmt: skip
CASES = [(name, case) for name, cases in HOSTILE.items() for case in cases]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    valid.write_all(folder)
    return folder


def measured(folder, name):
    """Read a file in a process of its own: what it says, the seconds and the bytes it takes."""
    here, there = os.pipe()
    process = fork()
    if process == 0:
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1), os.dup2(quiet, 2)
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            resource.setrlimit(resource.RLIMIT_CPU, (20, hard))
            Path("/proc/self/clear_refs").write_text("5")
            before = kilobytes("VmRSS")
            try:
                valid.read(folder, name)
                said = "read"
            except (ValueError, OSError) as error:
                said = str(error)
            except BaseException as error:
                said = f"{type(error).__name__}:\n{error}"
            used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF,)]
            seconds = sum(entry.ru_utime + entry.ru_stime for entry in used)
            taken = 1024 * (kilobytes("VmHWM") - before)
            os.write(there, json.dumps([said[:2000], seconds, taken]).encode())
        finally:
            os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as stream:
        answer = stream.read()
    status = os.waitpid(process, 0)[1]
    assert answer, f"the process died: {status}"
    return json.loads(answer)


def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures by /proc")
@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{n}-{c}" for n, c in CASES])
def test_a_header_that_lies_is_read_or_refused_in_one_line(whole, tmp_path, name, case):
    if name in valid.NEEDED:
        pytest.importorskip(valid.NEEDED[name])
    (tmp_path / "secret").write_bytes(bytes(8192))
    folder = tmp_path / "read"
    shutil.copytree(whole, folder)
    HOSTILE[name][case](folder / name)
    said, seconds, taken = measured(folder, name)
    assert "\n" not in said.strip() and not {"\x1b", "\x9b"} & set(said), said
    assert not any(w in said for w in ("Error:", "object has no", "NoneType")), said
    assert seconds < SECONDS and taken < MOST, (said, seconds, f"{taken / 2**20:.0f} MiB")
    assert not (folder / "it-ran").exists()
    print(f"| {name} | {case} | {said[:150]} |")
    assert scipy  # its reader of .mat files is what v5.mat tries
