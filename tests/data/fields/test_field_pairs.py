"""Pairs of frames: which frames, statistics of each, ambiguous use in one line."""

from pathlib import Path

import jsonargparse
import pytest
import torch

from monarch_sciml.data import FieldLayout, FieldWriter, PairModule

SHARED = Path(__file__).parents[3] / "../shared/pde"
real = pytest.mark.skipif(not SHARED.exists(), reason="third-party data sets are not here")
N, T, X = 6, 5, 8
SIZES = {"n_train": 3, "n_validation": 1, "n_test": 2}


def values() -> torch.Tensor:
    """(N, T, F, X), each number its own."""
    return torch.arange(N * T * 2 * X, dtype=torch.float32).view(N, T, 2, X)


def write(path: Path, content: torch.Tensor, dt: float = 0.5) -> Path:
    n_samples, n_times, _, n = content.shape
    times = tuple(dt * i for i in range(n_times))
    layout = FieldLayout(("u", "v"), n_samples, n_times, (n,), (1.0,), ("neumann",), times)
    with FieldWriter(path, layout, generator="x", parameters={}, seed=0) as writer:
        writer.write(0, content)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "x.h5", values())


@pytest.mark.parametrize("in_memory", [True, False])
class TestFrames:
    @pytest.mark.parametrize(
        ("given", "wanted"), [(0, -1), (1, 3), (0, 1), (-1, 0), (3, 1), (-5, 4)]
    )
    def test_two_frames_in_either_order(self, path, in_memory, given, wanted):
        module = PairModule(
            path, input_frame=given, target_frame=wanted, in_memory=in_memory, **SIZES
        )
        for name, samples in {"train": range(3), "validation": range(3, 4), "test": [4, 5]}.items():
            data = getattr(module, name)
            assert len(data) == len(samples)
            for index, sample in enumerate(samples):
                assert torch.equal(data[index]["input"], values()[sample, given][None])
                assert torch.equal(data[index]["target"], values()[sample, wanted][None])

    def test_fields_of_one_frame(self, path, in_memory):
        module = PairModule(
            path, input_frame=2, target_frame=2, input_fields=["v"], target_fields=["u"],
            in_memory=in_memory, **SIZES,
        )  # fmt: skip
        sample = module.test[0]
        assert torch.equal(sample["input"], values()[4, 2:3, 1:])
        assert torch.equal(sample["target"], values()[4, 2:3, :1])

    def test_statistics_are_of_the_frame(self, path, in_memory):
        module = PairModule(path, input_frame=0, target_frame=-1, in_memory=in_memory, **SIZES)
        for statistics, frame in ((module.input_statistics, 0), (module.target_statistics, T - 1)):
            used = values()[:3, frame].double()
            for field in range(2):
                assert float(statistics.mean[field]) == pytest.approx(float(used[:, field].mean()))
                std = float(used[:, field].std(correction=0))
                assert float(statistics.std[field]) == pytest.approx(std, rel=1e-6)


def test_spec_and_configuration(path):
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(PairModule, "data")
    frames = {"input_frame": 0, "target_frame": -1, "boundary": ["dirichlet"]}
    arguments = {"path": str(path), "target_fields": ["v"], **frames, **SIZES}
    config = {"class_path": "monarch_sciml.data.PairModule", "init_args": arguments}
    spec = parser.instantiate(parser.parse_object({"data": config})).data.spec
    assert (spec.fields, spec.n_fields_in, spec.n_fields_out) == (("v",), 2, 1)
    assert (spec.n_steps_in, spec.n_steps_out, spec.boundary) == (1, 1, ("dirichlet",))


@real
def test_burgers_from_its_initial_condition():
    raw = torch.load(SHARED / "burgers_train_16.pt", weights_only=True)
    module = PairModule(
        SHARED / "burgers_train_16.pt", test_path=SHARED / "burgers_test_16.pt",
        n_train=800, n_test=400, input_frame=0, target_frame=-1,
    )  # fmt: skip
    assert torch.equal(module.train[7]["input"][0, 0], raw["x"][7].float())
    assert torch.equal(module.train[7]["target"][0, 0], raw["y"][7, 16].float())
    assert len(module.test) == 400


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({}, r"`input_frame` must be given for .*x\.h5, which holds 5 frames, got none"),
            ({"input_frame": 0}, "`target_frame` must be given"),
            ({"target_frame": 0}, "`input_frame` must be given"),
            ({"input_frame": 0, "target_frame": 5}, "`target_frame` must be below the 5 frames"),
            ({"input_frame": -6, "target_frame": 0}, "`input_frame` must be at least -5, got -6"),
            ({"input_frame": 4, "target_frame": -1}, "must differ, or their fields, got 4 twice"),
            ({"input_frame": 0, "target_frame": 1, "boundary": []}, "one entry for each of the 1"),
            ({"input_frame": 0, "target_frame": 1, "boundary": ["wet"]}, "`boundary` must be one"),
        ],
    )
    def test_one_line(self, path, options, match):
        with pytest.raises(ValueError, match=match) as caught:
            PairModule(path, **options, **SIZES)
        assert "\n" not in str(caught.value)

    def test_frames_of_steady_fields(self, tmp_path):
        path = write(tmp_path / "s.h5", values()[:, :1])
        assert PairModule(path, **SIZES).spec.fields == ("v",)
        with pytest.raises(ValueError, match=r"s\.h5 is steady, got \(0, -1\)\. Leave them out"):
            PairModule(path, input_frame=0, target_frame=-1, **SIZES)

    def test_whole_numbers(self, path):
        with pytest.raises(TypeError, match=r"`input_frame` must be an int, got 0\.5"):
            PairModule(path, input_frame=0.5, target_frame=1, **SIZES)

    @pytest.mark.parametrize(
        ("content", "dt", "name"),
        [(values()[..., ::2], 0.5, "grid_shape"), (values()[:, :4], 0.5, "n_times"),
         (values(), 0.6, "dt")],
    )  # fmt: skip
    def test_files_of_different_problems(self, path, tmp_path, content, dt, name):
        other = write(tmp_path / "other.h5", content.contiguous(), dt)
        with pytest.raises(ValueError, match=rf"other\.h5 must have the `{name}` of .*x\.h5"):
            PairModule(path, test_path=other, input_frame=0, target_frame=1, **SIZES)
