"""What tests of raw data share: ISMRMRD files of given samples, in the order of acquisition."""

import numpy as np
import pytest

HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<experimentalConditions><H1resonanceFrequency_Hz>123000000</H1resonanceFrequency_Hz>
</experimentalConditions><encoding>
<encodedSpace><matrixSize><x>{x}</x><y>{y}</y><z>{z}</z></matrixSize>
<fieldOfView_mm><x>{fov}</x><y>240</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{h}</x><y>{y}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>240</x><y>240</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum>
<center>{center}</center></kspace_encoding_step_1></encodingLimits>
<trajectory>{trajectory}</trajectory>{more}</encoding></ismrmrdHeader>"""


@pytest.fixture
def write_readouts():
    """Write samples (c, n), one readout each, with flags and counters, into an ISMRMRD file."""
    ismrmrd = pytest.importorskip("ismrmrd")

    def write(
        path, readouts, *, flags=None, counters=None, positions=None, directions=None, **sizes
    ):
        first = readouts[0]
        h = sizes.setdefault("h", first.shape[1])
        sizes.setdefault("x", first.shape[1])
        sizes.setdefault("y", len(readouts))
        sizes = {"z": 1, "last": sizes["y"] - 1, "center": sizes["y"] // 2} | sizes
        sizes = {"trajectory": "cartesian", "more": "", "fov": 240 * sizes["x"] / h} | sizes
        data = ismrmrd.Dataset(str(path), "dataset")
        data.write_xml_header(HEADER.format(**sizes).encode())
        for i, samples in enumerate(readouts):
            made = ismrmrd.Acquisition.from_array(np.ascontiguousarray(samples, np.complex64))
            made.center_sample = samples.shape[1] // 2
            made.idx.kspace_encode_step_1 = i
            for name, value in (counters[i] if counters else {}).items():
                setattr(made.idx, name, value)
            for flag in flags[i] if flags else ():
                made.setFlag(getattr(ismrmrd, f"ACQ_IS_{flag}"))
            if positions is not None:
                made.position[:] = positions[i]
            if directions is not None:
                made.read_dir[:], made.phase_dir[:], made.slice_dir[:] = directions
            data.append_acquisition(made)
        data.close()
        return path

    return write
