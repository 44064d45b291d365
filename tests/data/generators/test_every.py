"""What every generator of fields promises."""

import inspect

import docstring_parser
import pytest
import torch
from tolerances import assert_close

from monarch_sciml import data
from monarch_sciml._checks import UsageError
from monarch_sciml.data import Batch, FieldFile
from monarch_sciml.data.generators import PROBLEMS

pytestmark = pytest.mark.usefixtures("one_thread")

"""Their rounding depends on the size of the batch."""


def test_reproducible_from_the_seed(name, make, read, tmp_path):
    one, two = (make(name, tmp_path / f"{i}.h5", seed=3) for i in "ab")
    assert one.read_bytes() == two.read_bytes()
    first = read(one)
    other = read(make(name, tmp_path / "c.h5", seed=4))
    assert not torch.allclose(first, other, atol=1e-2)


def test_samples_do_not_depend_on_number_or_batches(name, make, read, tmp_path):
    many = read(make(name, tmp_path / "many.h5", dtype="float64"))
    few = read(make(name, tmp_path / "few.h5", n_samples=2, batch_size=1, dtype="float64"))
    assert many.dtype == torch.float64
    # a transform or product of several samples at once may round otherwise than that of one
    assert_close(few, many[:2], relative=1e-9)
    assert not torch.allclose(many[0], many[1], atol=1e-2)


def test_shards_make_the_same_file(name, make, read, tmp_path):
    whole = make(name, tmp_path / "whole.h5", dtype="float64")
    for shard in ("2/2", "1/2"):
        make(name, tmp_path / "a.h5", shard=shard, dtype="float64")
    joined = make(name, tmp_path / "a.h5", dtype="float64")
    assert torch.equal(read(joined), read(whole))
    assert FieldFile(joined).about == FieldFile(whole).about


def test_exist_ok_and_refusals(name, make, tmp_path):
    path = make(name, tmp_path / "a.h5")
    assert make(name, path, exist_ok=True) == path
    with pytest.raises(FileExistsError):
        make(name, path)
    for change, match in (({"dtype": "float64"}, "another `parameters`"), ({"seed": 1}, "another")):
        with pytest.raises(ValueError, match=match):
            make(name, path, exist_ok=True, **change)
    with pytest.raises(ValueError, match="`shard` must be I/N"):
        make(name, tmp_path / "b.h5", shard="3/2")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"n_samples": 0}, "n_samples"),
        ({"batch_size": 0}, "batch_size"),
        ({"dtype": "float16"}, "dtype"),
        ({"seed": -1}, "seed"),
        ({"resolution": 0}, "resolution"),
    ],
)
def test_bad_arguments_leave_nothing(name, make, tmp_path, change, match):
    with pytest.raises(ValueError, match=match):
        make(name, tmp_path / "a.h5", **change)
    assert not list(tmp_path.iterdir())


BOUNDED = {"t_end": -1.0, "n_times": 0, "dt": -1.0}
"""Options of time that many problems have, with a value out of range."""


@pytest.mark.parametrize("option", BOUNDED)
def test_times_out_of_range_are_errors_of_usage(name, make, tmp_path, option):
    """The command line ends with status 2, before a file is begun."""
    if option not in inspect.signature(getattr(data, f"generate_{name}")).parameters:
        return
    with pytest.raises(UsageError, match=f"`{option}`"):
        make(name, tmp_path / "a.h5", **{option: BOUNDED[option]})
    assert not list(tmp_path.iterdir())


def test_every_option_has_help_on_the_command_line(name):
    function = getattr(data, f"generate_{name}")
    documented = {entry.arg_name for entry in docstring_parser.parse(function.__doc__).params}
    assert set(inspect.signature(function).parameters) == documented
    assert function.__name__ == f"generate_{name}" and "Returns\n---" in function.__doc__


def test_a_misspelt_option_is_a_type_error(name, tmp_path):
    with pytest.raises(TypeError, match="n_sample"):
        getattr(data, f"generate_{name}")(tmp_path / "a.h5", n_sample=3)
    assert not list(tmp_path.iterdir())


CHEAPER = {
    "navier_stokes": {"grid": 32},
    "diffusion_reaction": {"grid": 32},
    "lid_driven_cavity": {"grid": 17},
    "wave_in_medium": {"grid": 64, "resolution": 32},
    "shallow_water": {"grid": 32, "resolution": 32},
}
"""Resolutions for the test below; the physics stays that of the default set."""


def test_the_default_set_can_be_learned_from(name):
    """Samples differ, the last frame differs from the first one, and it has not decayed."""
    problem = PROBLEMS[name](**CHEAPER.get(name, {}))
    layout = problem.layout(3)
    batch = Batch(range(3), 0, torch.float32, lambda share: None)
    fields = problem.solve(batch).double().flatten(3)  # (n, T, F, points)
    index = max(layout.fields.index(field) for field in layout.varying)
    if layout.constant or layout.n_times > 1:
        index = 0  # of a trajectory the field that is given at first
    first, last = fields[:, 0, index], fields[:, -1, index]
    assert (last - last.mean(dim=0)).norm() > 0.1 * last.norm()
    if layout.n_times > 1:
        assert (last - first).norm() > 0.1 * last.norm()
        assert last.norm() > 0.1 * first.norm()
