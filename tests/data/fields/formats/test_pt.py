"""neuralop's .pt files: the real ones, the same layout written here, and bad ones."""

from pathlib import Path

import pytest
import torch

from monarch_sciml.data import ArrayFields, describe_fields, open_fields

SHARED = Path(__file__).parents[4] / "../shared/pde"
real = pytest.mark.skipif(not SHARED.exists(), reason="third-party data sets are not here")


def save(path: Path, **content) -> Path:
    torch.save(content, path)
    return path


@real
class TestRealFiles:
    @pytest.mark.parametrize(
        ("name", "n_samples", "n"),
        [("darcy_train_16", 1000, 16), ("darcy_test_16", 50, 16), ("darcy_test_32", 50, 32)],
    )
    def test_darcy(self, name, n_samples, n):
        file = open_fields(SHARED / f"{name}.pt")
        raw = torch.load(SHARED / f"{name}.pt", weights_only=True)
        assert file.fields == ("x", "y")
        assert (file.n_samples, file.n_times, file.grid_shape) == (n_samples, 1, (n, n))
        assert file.boundary == ("dirichlet", "dirichlet")
        read = file.read(slice(3, 40))
        assert read.shape == (37, 1, 2, n, n)
        assert read.dtype == torch.float32
        assert torch.equal(read[:, 0, 0].bool(), raw["x"][3:40])
        assert torch.equal(read[:, 0, 1], raw["y"][3:40])

    @pytest.mark.parametrize(("name", "n_samples"), [("train", 800), ("test", 400)])
    def test_burgers(self, name, n_samples):
        path = SHARED / f"burgers_{name}_16.pt"
        file, raw = open_fields(path), torch.load(path, weights_only=True)
        assert (file.fields, file.n_samples, file.n_times) == (("y",), n_samples, 17)
        assert (file.grid_shape, file.boundary) == ((16,), ("periodic",))
        assert torch.equal(file.read(slice(5), slice(1, None))[:, :, 0], raw["y"][:5, 1:])
        assert torch.equal(file.read(times=slice(1))[:, 0, 0], raw["x"])
        about = describe_fields(path)
        assert about["format"] == "neuralop .pt"
        assert about["parameters"]["viscosity"] == pytest.approx(0.01)


class TestWrittenHere:
    @pytest.mark.parametrize("legacy", [False, True])
    def test_pair_and_old_pickles(self, tmp_path, legacy):
        x, y = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
        path = tmp_path / "x.pt"
        torch.save({"x": x, "y": y}, path, _use_new_zipfile_serialization=not legacy)
        file = open_fields(path)
        assert torch.equal(file.read(slice(1, 3)), torch.stack([x, y], dim=1)[1:3, None])
        assert file.boundary == ("unknown", "unknown")

    def test_trajectories(self, tmp_path):
        y = torch.randn(3, 6, 4, 5)
        file = open_fields(save(tmp_path / "x.pt", x=y[:, 0].clone(), y=y))
        assert (file.n_times, file.grid_shape) == (6, (4, 5))
        assert torch.equal(file.read(slice(0, 3, 2), slice(1, 6, 2))[:, :, 0], y[::2, 1::2])

    def test_reading_copies(self, tmp_path):
        x = torch.zeros(2, 4)
        file = open_fields(save(tmp_path / "x.pt", x=x, y=x))
        file.read().add_(1)
        assert file.read().abs().max() == 0

    def test_told_boundary(self, tmp_path):
        path = save(tmp_path / "x.pt", x=torch.zeros(2, 4), y=torch.zeros(2, 4))
        assert ArrayFields(path, boundary=("open",)).boundary == ("open",)


class TestBadFiles:
    def test_other_contents(self, tmp_path):
        path = save(tmp_path / "x.pt", weight=torch.zeros(2), bias=torch.zeros(2))
        with pytest.raises(ValueError, match=r"axes of its arrays are, got weight \(2,\), bias"):
            open_fields(path)
        torch.save(torch.zeros(3), tmp_path / "y.pt")
        with pytest.raises(ValueError, match=r"got u \(3,\)"):
            open_fields(tmp_path / "y.pt")
        with pytest.raises(
            ValueError, match="tensors or arrays, by name in a dict, got a dict of x, y"
        ):
            open_fields(save(tmp_path / "z.pt", x=[1, 2], y=[3, 4]))

    def test_shapes_that_do_not_fit(self, tmp_path):
        path = save(tmp_path / "x.pt", x=torch.zeros(3, 4, 5), y=torch.zeros(3, 5, 4))
        with pytest.raises(ValueError, match=r"\(3, 4, 5\).*got \(3, 5, 4\)"):
            open_fields(path)

    def test_truncated(self, tmp_path):
        path = save(tmp_path / "x.pt", x=torch.zeros(300, 4), y=torch.zeros(300, 4))
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(
            ValueError, match=r"x\.pt must be a complete file, got Pytorch"
        ) as caught:
            open_fields(path)
        assert "\n" not in str(caught.value)

    def test_code_is_not_run(self, tmp_path):
        torch.save({"x": Trap(), "y": 0}, tmp_path / "x.pt")
        with pytest.raises(
            ValueError, match=r"tensors or arrays alone: nothing in it is run, got a .*spring"
        ):
            open_fields(tmp_path / "x.pt")
        assert not Trap.sprung

    def test_nan(self, tmp_path):
        x = torch.zeros(3, 4)
        x[1, 2] = torch.inf
        file = open_fields(save(tmp_path / "x.pt", x=x, y=x.nan_to_num()))
        with pytest.raises(ValueError, match=r"`x` of .*first in sample 1"):
            file.read()


class Trap:
    sprung = False

    def __reduce__(self):
        return (spring, ())


def spring():
    Trap.sprung = True
