"""Data modules of PDE fields: frames, splits, windows, statistics, one line for bad input."""

from pathlib import Path

import jsonargparse
import pytest
import torch
from torch.utils.data import DataLoader

from monarch_sciml.data import (
    FieldLayout,
    FieldWriter,
    PairModule,
    TrajectoryModule,
    UnitGaussian,
    generate_navier_stokes,
)

SHARED = Path(__file__).parents[3] / "../shared/pde"
real = pytest.mark.skipif(not SHARED.exists(), reason="third-party data sets are not here")
N, T, H, W = 9, 8, 6, 4


def values() -> torch.Tensor:
    """(N, T, F, H, W), each number its own."""
    return torch.arange(N * T * 2 * H * W, dtype=torch.float32).view(N, T, 2, H, W)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    layout = FieldLayout(
        fields=("u", "v"),
        n_samples=N,
        n_times=T,
        grid_shape=(H, W),
        domain_extent=(1.0, 2.0),
        boundary=("periodic", "neumann"),
        times=tuple(0.5 * i for i in range(T)),
    )
    with FieldWriter(tmp_path / "x.h5", layout, generator="x", parameters={}, seed=0) as writer:
        writer.write(0, values())
    return tmp_path / "x.h5"


SIZES = {"n_train": 4, "n_validation": 2, "n_test": 3, "n_steps_in": 3, "n_steps_out": 2}


@pytest.mark.parametrize("in_memory", [True, False])
class TestTrajectories:
    def test_frames_and_splits(self, path, in_memory):
        module = TrajectoryModule(path, in_memory=in_memory, **SIZES)
        assert module.validation is not None
        splits = {"train": range(4), "validation": range(4, 6), "test": range(6, 9)}
        for name, samples in splits.items():
            data = getattr(module, name)
            assert len(data) == len(samples)
            for index, sample in enumerate(samples):
                assert torch.equal(data[index]["input"], values()[sample, 0:3])
                assert torch.equal(data[index]["target"], values()[sample, 3:5])

    def test_samples_between_are_left_out(self, path, in_memory):
        module = TrajectoryModule(path, in_memory=in_memory, **{**SIZES, "n_test": 1})
        assert torch.equal(module.test[0]["input"], values()[8, :3])
        assert torch.equal(module.validation[1]["input"], values()[5, :3])

    def test_start_stride_subsample_fields(self, path, in_memory):
        module = TrajectoryModule(
            path, start=1, stride=2, subsample=2, fields=["v"], in_memory=in_memory,
            n_train=4, n_test=3, n_steps_in=1, n_steps_out=3,
        )  # fmt: skip
        sample = module.test[2]
        assert torch.equal(sample["input"], values()[8, 1:2, 1:, ::2, ::2])
        assert torch.equal(sample["target"], values()[8, 3:8:2, 1:, ::2, ::2])
        assert module.validation is None
        assert module.spec.grid_shape == (3, 2)
        assert module.spec.dt == 1.0
        assert module.spec.fields == ("v",)

    @pytest.mark.parametrize("stride", [1, 2])
    def test_windows(self, path, in_memory, stride):
        module = TrajectoryModule(
            path, windows=True, stride=stride, in_memory=in_memory, **{**SIZES, "n_steps_in": 2}
        )
        n_windows = T - 2 * stride
        assert len(module.train) == 4 * n_windows
        for index in (0, 1, n_windows - 1, n_windows, 4 * n_windows - 1, -1):
            sample = module.train[index]
            trajectory, t = divmod(index % (4 * n_windows), n_windows)
            assert torch.equal(sample["input"], values()[trajectory, t : t + 2 * stride : stride])
            assert torch.equal(sample["target"], values()[trajectory, t + 2 * stride][None])
        assert len(module.test) == 3
        assert module.test[0]["target"].shape[0] == 2
        assert module.spec.n_steps_out == 2

    def test_loader_with_workers(self, path, in_memory):
        module = TrajectoryModule(path, in_memory=in_memory, **SIZES)
        loader = DataLoader(
            module.train, batch_size=3, num_workers=2, multiprocessing_context="fork"
        )
        batches = list(loader)
        assert [len(batch["input"]) for batch in batches] == [3, 1]
        got = torch.cat([batch["target"] for batch in batches])
        assert torch.equal(got, values()[:4, 3:5])

    def test_statistics_are_of_the_training_samples_alone(self, path, in_memory):
        module = TrajectoryModule(path, in_memory=in_memory, start=2, **SIZES)
        used = values()[:4, 2:7].double()
        statistics = module.input_statistics
        assert module.target_statistics is statistics
        assert statistics.mean.shape == (2, 1, 1)
        for field in range(2):
            assert statistics.mean[field] == pytest.approx(float(used[:, :, field].mean()))
            std = float(used[:, :, field].std(correction=0))
            assert statistics.std[field] == pytest.approx(std, rel=1e-6)

    def test_index_out_of_range(self, path, in_memory):
        data = TrajectoryModule(path, in_memory=in_memory, **SIZES).test
        assert torch.equal(data[-1]["input"], data[2]["input"])
        with pytest.raises(IndexError):
            data[3]
        assert len(list(data)) == 3


PARTS = {"n_train": 4, "n_validation": 2, "n_test": 2, "n_steps_in": 1, "n_steps_out": 1}


@pytest.mark.parametrize("in_memory", [True, False])
class TestSplitInTime:
    """T = 8 frames: 0..3 train, 4 and 5 validate, 6 and 7 test."""

    def test_every_window_of_each_part(self, path, in_memory):
        module = TrajectoryModule(path, split="time", in_memory=in_memory, **PARTS)
        starts = {"train": [0, 1, 2], "validation": [4], "test": [6]}
        for name, expected in starts.items():
            data = getattr(module, name)
            assert len(data) == N * len(expected)
            for index, sample in enumerate(data):
                trajectory, t = divmod(index, len(expected))
                assert torch.equal(sample["input"], values()[trajectory, expected[t]][None])
                assert torch.equal(sample["target"], values()[trajectory, expected[t] + 1][None])

    def test_start_stride_and_longer_roll_outs(self, path, in_memory):
        module = TrajectoryModule(
            path, split="time", n_train=3, n_test=4, n_steps_in=1, n_steps_out=3, start=1,
            windows=True, in_memory=in_memory,
        )  # fmt: skip
        assert len(module.train) == N * 2  # one step from each of the frames 1..3 but the last
        assert torch.equal(module.train[1]["target"], values()[0, 3][None])
        assert torch.equal(module.test[2]["target"], values()[2, 5:8])
        assert module.validation is None
        module = TrajectoryModule(
            path, split="time", n_train=5, n_test=3, n_steps_in=1, n_steps_out=1, stride=2,
            in_memory=in_memory,
        )  # fmt: skip
        assert len(module.train) == N * 3
        assert torch.equal(module.train[2]["target"], values()[0, 4][None])

    def test_statistics_see_no_later_frame(self, path, in_memory):
        module = TrajectoryModule(path, split="time", in_memory=in_memory, **PARTS)
        used = values()[:, :4].double()
        for field in range(2):
            mean = float(module.input_statistics.mean[field])
            assert mean == pytest.approx(float(used[:, :, field].mean()))

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"n_train": 5}, r"at most the 8 frames of .* on, got 5 \+ 2 \+ 2 = 9.*count frames"),
            ({"start": 1}, "at most the 7 frames"),
            ({"n_test": 1}, "`n_test` must be at least the 2 frames of a sample, got 1"),
            ({"n_steps_in": 4}, "`n_train` must be at least the 5 frames"),
            ({"split": "space"}, "`split` must be one of 'samples', 'time'"),
            ({"n_test": -1}, "`n_test` must be at least 0"),
        ],
    )
    def test_bad_input(self, path, in_memory, change, match):
        with pytest.raises(ValueError, match=match):
            TrajectoryModule(path, in_memory=in_memory, **{"split": "time", **PARTS, **change})


class TestTestFile:
    def test_samples_of_another_file(self, path, tmp_path):
        other = tmp_path / "other.h5"
        other.write_bytes(path.read_bytes())
        module = TrajectoryModule(path, test_path=other, **{**SIZES, "n_train": 7})
        assert torch.equal(module.test[0]["input"], values()[6, :3])
        assert len(module.train) == 7
        with pytest.raises(ValueError, match="must be 'samples' where there is a `test_path`"):
            TrajectoryModule(path, test_path=other, split="time", **SIZES)

    def test_told_boundary(self, path):
        module = TrajectoryModule(path, boundary=["wall", "open"], subsample=4, **SIZES)
        assert module.spec.boundary == ("wall", "open")
        assert module.spec.grid_shape == (2, 1)


class TestSpec:
    def test_everything_a_network_needs(self, path):
        spec = TrajectoryModule(path, **SIZES).spec
        assert spec.fields == ("u", "v")
        assert (spec.n_steps_in, spec.n_steps_out) == (3, 2)
        assert (spec.domain_extent, spec.boundary) == ((1.0, 2.0), ("periodic", "neumann"))
        assert spec.dt == 0.5
        assert spec.network_arguments == {
            "grid_shape": (6, 4),
            "in_channels": 6,
            "out_channels": 2,
        }

    def test_float64(self, path):
        module = TrajectoryModule(path, dtype="float64", **SIZES)
        assert module.train[0]["input"].dtype == torch.float64

    def test_generated_set(self, tmp_path):
        path = generate_navier_stokes(
            tmp_path / "ns.h5", n_samples=3, grid=16, resolution=8, t_end=0.4, n_times=4, dt=0.05,
            progress=False,
        )  # fmt: skip
        module = TrajectoryModule(path, n_train=2, n_test=1, n_steps_in=2, n_steps_out=2)
        assert module.spec.boundary == ("periodic", "periodic")
        assert module.spec.dt == pytest.approx(0.1)
        assert module.train[0]["input"].shape == (2, 1, 8, 8)

    def test_from_a_configuration(self, path):
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(TrajectoryModule, "data")
        config = {
            "class_path": "monarch_sciml.data.TrajectoryModule",
            "init_args": {"path": str(path), "fields": ["u"], "windows": True, **SIZES},
        }
        module = parser.instantiate(parser.parse_object({"data": config})).data
        assert isinstance(module, TrajectoryModule)
        assert module.spec.n_fields_in == 1


@real
class TestPairs:
    darcy = SHARED / "darcy_train_16.pt"

    @pytest.mark.parametrize("in_memory", [True, False])
    def test_darcy(self, in_memory):
        raw = torch.load(self.darcy, weights_only=True)
        module = PairModule(
            self.darcy, n_train=800, n_validation=100, n_test=50, in_memory=in_memory
        )
        sample = module.test[0]
        assert torch.equal(sample["input"], raw["x"][950][None, None].float())
        assert torch.equal(sample["target"], raw["y"][950][None, None])
        assert torch.equal(module.validation[3]["target"][0, 0], raw["y"][803])
        assert module.spec.network_arguments == {
            "grid_shape": (16, 16),
            "in_channels": 1,
            "out_channels": 1,
        }
        assert module.spec.fields == ("y",)
        assert module.spec.boundary == ("dirichlet", "dirichlet")

    def test_statistics(self):
        raw = torch.load(self.darcy, weights_only=True)
        module = PairModule(self.darcy, n_train=700, n_test=50)
        x, y = raw["x"][:700].double(), raw["y"][:700].double()
        assert float(module.input_statistics.mean) == pytest.approx(float(x.mean()))
        assert float(module.target_statistics.std) == pytest.approx(float(y.std()), rel=1e-5)

    def test_test_file_of_its_own(self):
        module = PairModule(
            self.darcy, test_path=SHARED / "darcy_test_16.pt", n_train=1000, n_test=50
        )
        raw = torch.load(SHARED / "darcy_test_16.pt", weights_only=True)
        assert torch.equal(module.test[49]["target"][0, 0], raw["y"][49])
        assert len(module.train) == 1000

    def test_other_grid_and_trajectories_are_refused(self):
        with pytest.raises(ValueError, match=r"`grid_shape` of .*\(16, 16\), got \(32, 32\)"):
            PairModule(self.darcy, test_path=SHARED / "darcy_test_32.pt", n_train=9, n_test=5)
        with pytest.raises(ValueError, match=r"which holds 17 frames, got none\. Name both"):
            PairModule(SHARED / "burgers_train_16.pt", n_train=9, n_test=5)

    def test_burgers_is_a_trajectory(self):
        module = TrajectoryModule(
            SHARED / "burgers_train_16.pt", n_train=9, n_test=5, n_steps_in=1, n_steps_out=16
        )
        assert module.test[0]["target"].shape == (16, 1, 16)
        assert module.spec.dt is None


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"n_train": 5}, r"at most 9 for .*x\.h5, got 5 \+ 2 \+ 3 = 10"),
            ({"n_train": -1}, "n_train"),
            ({"n_steps_out": 6}, "must hold 9 frames for these steps, got 8"),
            ({"start": 4}, "must hold 9 frames"),
            ({"start": -1}, "start"),
            ({"n_steps_in": 0}, "n_steps_in"),
            ({"stride": 0}, "stride"),
            ({"subsample": 4}, "divide the 6 points of a periodic axis, got 4"),
            ({"fields": ["w"]}, "one of 'u', 'v', got 'w'"),
            ({"fields": []}, "needs fields"),
            ({"windows": True, "window_steps": 6}, "must hold 9 frames"),
            ({"dtype": "half"}, "dtype"),
        ],
    )
    def test_trajectory_options(self, path, change, match):
        with pytest.raises(ValueError, match=match) as caught:
            TrajectoryModule(path, **{**SIZES, **change})
        assert "\n" not in str(caught.value)

    def test_whole_numbers(self, path):
        with pytest.raises(TypeError, match="n_train"):
            TrajectoryModule(path, **{**SIZES, "n_train": 2.5})

    def test_missing_file_names_the_command(self, tmp_path):
        with pytest.raises(
            FileNotFoundError, match=r"monarch-sciml generate PROBLEM --output .*ns.h5`"
        ):
            TrajectoryModule(tmp_path / "ns.h5", n_train=1, n_test=1)
        with pytest.raises(FileNotFoundError, match="monarch-sciml generate"):
            PairModule(tmp_path / "darcy.pt", n_train=1, n_test=1)

    def test_empty_split(self, path):
        module = TrajectoryModule(path, **{**SIZES, "n_train": 0})
        assert len(module.test) == 3
        with pytest.raises(ValueError, match="`n_train` must be at least 1"):
            _ = module.train


class TestUnitGaussian:
    def test_round_trip_and_moments(self):
        x = 5 + 3 * torch.randn(40, 2, 3, 8, generator=torch.Generator().manual_seed(0))
        statistics = UnitGaussian.fit([x[:7], x[7:]])
        encoded = statistics.encode(x)
        assert encoded.mean().abs() < 1e-5
        assert encoded.std() == pytest.approx(1.0, abs=1e-3)
        assert torch.allclose(statistics.decode(encoded), x, atol=1e-5)

    def test_constant_field_stays_finite(self):
        x = torch.full((3, 1, 1, 4), 2.0)
        assert UnitGaussian.fit([x]).encode(x).abs().max() == 0

    def test_no_samples(self):
        with pytest.raises(ValueError, match="need samples"):
            UnitGaussian.fit([])
