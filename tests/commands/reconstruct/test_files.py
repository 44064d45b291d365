"""The names of the files that `reconstruct` writes."""

from monarch_sciml.commands.reconstruct.output_files import Destination


def test_methods_alike_but_for_punctuation_have_files_of_their_own(tmp_path):
    names = ["U-Net, 2 scans", "U-Net (2 scans", "u-net-2-scans", "U-Net-2-scans-2", "mSENSE"]
    found = Destination.checked([], tmp_path / "o.nii.gz", None, names, overwrite=False)
    assert [found.images[name].name for name in names] == [
        "o_U-Net-2-scans.nii.gz",
        "o_U-Net-2-scans-2.nii.gz",
        "o_u-net-2-scans-3.nii.gz",
        "o_U-Net-2-scans-2-2.nii.gz",
        "o_mSENSE.nii.gz",
    ]
