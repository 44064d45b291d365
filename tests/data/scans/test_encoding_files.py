import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from monarch_sciml.data.scans.encoding_files import KIND, read_encoding, write_encoding
from monarch_sciml.physics import ReadoutEncoding
from monarch_sciml.physics.readout_encoding import band_weights, dense_encoding
from monarch_sciml.transforms import CorrectedTransform, FourierTransform


def corrected(n_bands=3):
    torch.manual_seed(0)
    bands = [CorrectedTransform(FourierTransform(16, centered=True), 2) for _ in range(n_bands)]
    for band in bands:
        torch.nn.init.normal_(band.left, std=0.1)
        torch.nn.init.normal_(band.right, std=0.1)
    return ReadoutEncoding(bands, band_weights(n_bands, 12))


def dense(n_bands):
    return dense_encoding(torch.randn(n_bands, 16, 16, dtype=torch.complex64), 12)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (corrected, "16 x 12, 3 bands, rank 2, learned from 5 slices"),
        (lambda: dense(1), "16 x 12, one matrix for all columns, dense, learned from 5 slices"),
        (lambda: dense(12), "16 x 12, a matrix for every column, dense, learned from 5 slices"),
    ],
)
def test_an_encoding_comes_back_to_the_last_bit(tmp_path, make, words):
    encoding, path = make(), tmp_path / "e.safetensors"
    assert write_encoding(encoding, path, learned={"slices": 5, "ridge": 0.01}) == path
    found = read_encoding(path)
    x = torch.randn(2, 16, 12, dtype=torch.complex64)
    with torch.no_grad():
        assert torch.equal(found.encoding(x), encoding(x))
    assert not any(p.requires_grad for p in found.encoding.parameters())
    assert (found.description, found.learned) == (words, {"slices": 5, "ridge": 0.01})
    with pytest.raises(FileExistsError, match="must not exist yet"):
        write_encoding(encoding, path)


def test_bad_files_are_refused_in_one_line(tmp_path):
    good = tmp_path / "good.safetensors"
    write_encoding(corrected(), good)
    tensors = load_file(good)

    def changed(values=(), **about):
        header = {"height": 16, "width": 12, "n_bands": 3, "structure": "corrected", "rank": 2}
        header |= {"grid_blocks": 4, "mode_blocks": 7} | about.pop("header", {})
        texts = {"format": KIND, "version": "1", "encoding": json.dumps(header), "learned": "{}"}
        save_file(tensors | dict(values), tmp_path / "bad.safetensors", texts | about)

    def refused(text):
        with pytest.raises(ValueError, match=text) as caught:
            read_encoding(tmp_path / "bad.safetensors")
        assert "\n" not in str(caught.value)

    changed()
    read_encoding(tmp_path / "bad.safetensors")
    changed(format="pt")
    refused("must be an encoding file, as .*, got another safetensors file")
    changed(version="2")
    refused("must be an encoding file of version 1, got 2. Update")
    changed(header={"height": 10**9})
    refused("must be a whole encoding file")
    changed(header={"rank": 3})
    refused("must be a whole encoding file")
    changed(encoding="{")
    refused("must be a whole encoding file")
    changed({"weights": torch.ones(2, 12)})
    refused(r"do not fit \(weights \(2, 12\)\)")
    changed({"left": tensors["left"] * torch.nan})
    refused("`left` must be finite")
    (tmp_path / "bad.safetensors").write_bytes(good.read_bytes()[:-100])
    refused("must be an encoding file")
    (tmp_path / "bad.safetensors").write_text("no tensors")
    refused("must be an encoding file")
    with pytest.raises(FileNotFoundError):
        read_encoding(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match=r"must end in \.safetensors, got e\.h5"):
        write_encoding(corrected(), tmp_path / "e.h5")
    with pytest.raises(ValueError, match="must all be corrected, or all dense"):
        write_encoding(
            ReadoutEncoding([FourierTransform(16, centered=True)], width=12),
            tmp_path / "f.safetensors",
        )
