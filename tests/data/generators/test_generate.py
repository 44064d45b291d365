"""The framework of generators: batches, resumption, shares of a set and how they are joined."""

import errno
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from monarch_sciml.data import FieldFile, FieldLayout, FieldWriter, Problem, generate, open_fields
from monarch_sciml.data.fields.writer import runs
from monarch_sciml.data.generators.generate import sample_generator, sample_rng, sample_seed
from monarch_sciml.data.generators.sharding import Share, shard_files

PARAMETERS = {"equation": "u = noise", "power": 2.0, "grid": [5]}


class Noise:
    """A problem whose samples are noise; it remembers the batches it was asked for."""

    def __init__(self, n_samples=11, batch_size=3, stop_at=None, seed=4, **changes):
        layout = FieldLayout(("u", "v"), n_samples, 2, (5,), (1.0,), ("neumann",), times=(0.0, 1.0))
        self.asked, self.stop_at, self.seed = [], stop_at, seed
        self.problem = Problem("noise", layout, PARAMETERS, self.solve, batch_size)
        self.problem = replace(self.problem, **changes)

    def solve(self, samples, advance):
        if self.stop_at is not None and self.stop_at in samples:
            raise KeyboardInterrupt
        self.asked.append(samples)
        advance(0.5)
        draws = [sample_rng(self.seed, i).standard_normal((2, 2, 5)) for i in samples]
        return torch.from_numpy(np.stack(draws)).float()

    def make(self, output, **options):
        return generate(self.problem, output, **{"seed": self.seed, "progress": False, **options})


def values(n_samples=11, seed=4):
    draws = [sample_rng(seed, i).standard_normal((2, 2, 5)) for i in range(n_samples)]
    return torch.from_numpy(np.stack(draws)).float()


def same_file(first: Path, second: Path) -> bool:
    """Every array and attribute is the same, bit for bit."""
    with h5py.File(first) as one, h5py.File(second) as other:
        names = []
        one.visit(names.append)
        arrays = [name for name in names if isinstance(one[name], h5py.Dataset)]
        return str(dict(one.attrs)) == str(dict(other.attrs)) and all(
            one[name][()].tobytes() == other[name][()].tobytes() for name in arrays
        )


@pytest.fixture
def whole(tmp_path):
    return Noise().make(tmp_path / "whole.h5")


class TestGenerate:
    def test_values_and_batches(self, tmp_path):
        noise = Noise()
        path = noise.make(tmp_path / "deep" / "a.h5")
        assert path == tmp_path / "deep" / "a.h5"
        assert noise.asked == [range(0, 3), range(3, 6), range(6, 9), range(9, 11)]
        file = open_fields(path)
        assert torch.equal(file.read(), values())
        stated = replace(noise.problem.layout, coordinates=file.layout.coordinates)
        assert file.layout == stated
        assert file.about["parameters"] == PARAMETERS
        assert (file.about["generator"], file.about["seed"]) == ("noise", 4)
        assert os.listdir(path.parent) == ["a.h5"]

    def test_resumes_at_the_first_missing_sample(self, tmp_path, whole):
        with pytest.raises(KeyboardInterrupt):
            Noise(stop_at=7).make(tmp_path / "a.h5")
        again = Noise()
        again.make(tmp_path / "a.h5")
        assert again.asked == [range(6, 9), range(9, 11)]
        assert same_file(tmp_path / "a.h5", whole)

    def test_other_batches_after_a_kill(self, tmp_path, whole):
        with pytest.raises(KeyboardInterrupt):
            Noise(stop_at=7).make(tmp_path / "a.h5")
        again = Noise(batch_size=4)
        again.make(tmp_path / "a.h5")
        assert again.asked == [range(6, 8), range(8, 11)]
        assert same_file(tmp_path / "a.h5", whole)

    def test_exist_ok(self, tmp_path, whole):
        with pytest.raises(FileExistsError):
            Noise().make(whole)
        idle = Noise()
        assert idle.make(whole, exist_ok=True) == whole and not idle.asked
        for other, word in (
            (Noise(seed=5), "seed"),
            (Noise(parameters={**PARAMETERS, "power": 3.0}), "parameters"),
            (Noise(n_samples=10), "n_samples"),
            (Noise(name="music"), "generator"),
        ):
            with pytest.raises(ValueError, match=rf"whole\.h5 must hold .* another `{word}`"):
                other.make(whole, exist_ok=True)

    def test_tuples_in_parameters_are_lists_in_the_file(self, tmp_path):
        noise = Noise(parameters={"grid": (4, 5)})
        noise.make(tmp_path / "a.h5")
        assert noise.make(tmp_path / "a.h5", exist_ok=True).exists()
        assert FieldFile(tmp_path / "a.h5").about["parameters"] == {"grid": [4, 5]}

    def test_coordinates(self, tmp_path):
        centres = np.arange(5) / 5 + 0.1
        Noise(coordinates=[centres]).make(tmp_path / "a.h5")
        with h5py.File(tmp_path / "a.h5") as file:
            assert np.array_equal(file["coordinates/x"], centres)

    def test_bar_counts_samples(self, tmp_path, capsys):
        Noise().make(tmp_path / "a.h5", progress=True)
        assert "11/11 trajectories" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            Noise(stop_at=7).make(tmp_path / "b.h5")
        Noise().make(tmp_path / "b.h5", progress=True)
        shown = capsys.readouterr().err
        assert " 6/11 trajectories" in shown and "11/11" in shown and " 0/11" not in shown

    @pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
    def test_full_disk_keeps_what_is_there(self, tmp_path, monkeypatch):
        for shard in ("1/2", "2/2"):
            Noise().make(tmp_path / "a.h5", shard=shard)

        def refuse(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_fallocate", refuse)
            with pytest.raises(OSError, match=r"room for .*Free space\.$"):
                Noise().make(tmp_path / "a.h5")
        assert len(list(tmp_path.iterdir())) == 2
        assert torch.equal(FieldFile(Noise().make(tmp_path / "a.h5")).read(), values())

    @pytest.mark.parametrize(
        ("noise", "options", "match"),
        [
            (Noise(), {"seed": -1}, "seed"),
            (Noise(solve=lambda s, _: torch.full((len(s), 2, 2, 5), torch.nan)), {}, "finite"),
            (Noise(solve=lambda s, _: torch.zeros(len(s), 2, 5)), {}, "shape"),
            (Noise(), {"seed": 2**63}, r"`seed` must be below 2\^63"),
        ],
    )
    def test_failures_leave_nothing(self, tmp_path, noise, options, match):
        with pytest.raises(ValueError, match=match):
            noise.make(tmp_path / "a.h5", **options)
        assert not list(tmp_path.iterdir())

    @pytest.mark.filterwarnings("error")
    def test_values_beyond_the_stored_type_are_refused(self, tmp_path):
        problem = replace(
            Noise().problem,
            solve=lambda samples, _: torch.full((len(samples), 2, 2, 5), 1e39, dtype=torch.float64),
        )
        with pytest.raises(ValueError, match=r"must fit float32, got 1e\+39\. Pass dtype float64"):
            generate(problem, tmp_path / "a.h5", progress=False)
        assert not list(tmp_path.iterdir())
        path = generate(replace(problem, dtype=torch.float64), tmp_path / "a.h5", progress=False)
        assert FieldFile(path).read().unique().tolist() == [1e39]

    @pytest.mark.parametrize("change", [{"n_samples": 0}, {"batch_size": 0}])
    def test_sizes(self, change):
        with pytest.raises(ValueError, match="at least 1"):
            Noise(**change)

    def test_one_thread_of_torch_and_blas(self, tmp_path):
        seen = []

        def solve(samples, _):
            pools = [pool["num_threads"] for pool in threadpool_info()]
            seen.append({torch.get_num_threads(), *pools})
            return torch.zeros(len(samples), 2, 2, 5)

        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            Noise(solve=solve, n_samples=3).make(tmp_path / "a.h5")
            assert seen == [{1}] and torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(before)


class TestSeeds:
    def test_each_sample_has_its_own(self):
        seeds = {sample_seed(seed, sample) for seed in range(20) for sample in range(50)}
        assert len(seeds) == 1000 and all(0 <= s < 2**63 for s in seeds)
        first = torch.randn(3, generator=sample_generator(1, 2))
        assert torch.equal(first, torch.randn(3, generator=sample_generator(1, 2)))
        assert not torch.equal(first, torch.randn(3, generator=sample_generator(2, 1)))


class TestShare:
    @pytest.mark.parametrize(("n", "batch"), [(1200, 20), (11, 3), (7, 20), (100, 1), (5, 2)])
    @pytest.mark.parametrize("of", [1, 2, 3, 4, 5])
    def test_shares_partition_the_set_between_batches(self, n, batch, of):
        shares = [Share.parse(f"{i}/{of}", n, batch).samples for i in range(1, of + 1)]
        assert [i for share in shares for i in share] == list(range(n))
        n_batches = -(-n // batch)
        unit = batch if n_batches >= of else 1
        assert all(share.start % unit == 0 for share in shares)
        sizes = [len(share) for share in shares]
        assert min(sizes) > 0 and max(sizes) - min(sizes) <= 2 * unit - 1

    def test_names(self):
        path = Share.parse(" 2 / 4 ", 8).path(Path("sets/ns.v1.h5"))
        assert path == Path("sets/ns.v1.shard-2-of-4.h5")
        assert Share.parse(None, 8).path(Path("ns.h5")) == Path("ns.h5")

    @pytest.mark.parametrize(
        "shard", ["0/4", "5/4", "2", "2/", "/4", "a/b", "-1/4", "1/0", "1.5/4", "", "1/2/3", "2 4"]
    )
    def test_bad_strings(self, tmp_path, shard):
        match = rf"`shard` must be I/N with 1 ≤ I ≤ N, got {re.escape(repr(shard))}\. Pass 2/4"
        with pytest.raises(ValueError, match=match):
            Noise().make(tmp_path / "a.h5", shard=shard)
        assert not list(tmp_path.iterdir())

    def test_more_shares_than_samples(self, tmp_path):
        with pytest.raises(ValueError, match="more shares than there are samples, 11, got '1/12'"):
            Noise().make(tmp_path / "a.h5", shard="1/12")


class TestShards:
    @pytest.mark.parametrize("of", [1, 2, 4, 11])
    def test_joined_is_the_unsharded_file(self, tmp_path, whole, of):
        for i in range(of, 0, -1):
            path = Noise().make(tmp_path / "a.h5", shard=f"{i}/{of}")
            assert path.name == f"a.shard-{i}-of-{of}.h5"
        joining = Noise()
        joining.make(tmp_path / "a.h5")
        assert joining.asked == []
        assert same_file(tmp_path / "a.h5", whole)
        assert len(shard_files(tmp_path / "a.h5")) == of  # they stay

    def test_a_shard_is_a_readable_file(self, tmp_path):
        path = Noise().make(tmp_path / "a.h5", shard="2/2")
        file = open_fields(path)
        assert torch.equal(file.read(), values()[6:])
        shard = {"index": 2, "of": 2, "first_sample": 6, "n_samples_of_set": 11}
        assert file.about["parameters"] == {**PARAMETERS, "shard": shard}
        with pytest.raises(FileExistsError):
            Noise().make(tmp_path / "a.h5", shard="2/2")
        idle = Noise()
        assert idle.make(tmp_path / "a.h5", shard="2/2", exist_ok=True) == path and not idle.asked

    def test_missing_shares_are_solved(self, tmp_path, whole):
        Noise().make(tmp_path / "a.h5", shard="2/4")
        Noise().make(tmp_path / "a.h5", shard="4/4")
        joining = Noise()
        joining.make(tmp_path / "a.h5")
        assert joining.asked == [range(0, 3), range(6, 9)]
        assert same_file(tmp_path / "a.h5", whole)

    def test_interrupted_shard_is_resumed(self, tmp_path, whole):
        with pytest.raises(KeyboardInterrupt):
            Noise(stop_at=10).make(tmp_path / "a.h5", shard="2/2")
        again = Noise()
        again.make(tmp_path / "a.h5", shard="2/2")
        assert again.asked == [range(9, 11)]
        Noise().make(tmp_path / "a.h5", shard="1/2")
        assert same_file(Noise().make(tmp_path / "a.h5"), whole)

    def test_samples_of_an_unfinished_shard_are_taken(self, tmp_path, whole):
        with pytest.raises(KeyboardInterrupt):
            Noise(stop_at=10).make(tmp_path / "a.h5", shard="2/2")
        joining = Noise()
        joining.make(tmp_path / "a.h5")
        assert joining.asked == [range(0, 3), range(3, 6), range(9, 11)]
        assert same_file(tmp_path / "a.h5", whole)

    def test_interrupted_joining_is_resumed(self, tmp_path, whole):
        Noise().make(tmp_path / "a.h5", shard="4/4")
        with pytest.raises(KeyboardInterrupt):
            Noise(stop_at=0).make(tmp_path / "a.h5")  # nothing but the copied samples is there
        (tmp_path / "a.shard-4-of-4.h5").unlink()
        again = Noise()
        again.make(tmp_path / "a.h5")
        assert again.asked == [range(0, 3), range(3, 6), range(6, 9)]
        assert same_file(tmp_path / "a.h5", whole)

    def test_other_partition_and_batches(self, tmp_path, whole):
        Noise().make(tmp_path / "a.h5", shard="1/2")
        Noise(batch_size=1).make(tmp_path / "a.h5", shard="2/3")
        joining = Noise()
        joining.make(tmp_path / "a.h5")
        assert joining.asked == [range(7, 9), range(9, 11)]
        assert same_file(tmp_path / "a.h5", whole)

    def test_copies_in_chunks(self, tmp_path, whole, monkeypatch):
        Noise().make(tmp_path / "a.h5", shard="1/1")
        monkeypatch.setattr("monarch_sciml.data.generators.sharding._CHUNK", 200)  # two samples
        sizes, write = [], FieldWriter.write

        def counted(self, start, fields):
            sizes.append(len(fields))
            write(self, start, fields)

        monkeypatch.setattr(FieldWriter, "write", counted)
        assert same_file(Noise().make(tmp_path / "a.h5"), whole)
        assert sizes == [2, 2, 2, 2, 2, 1]

    @pytest.mark.parametrize(
        ("other", "match"),
        [
            (Noise(seed=5), "`seed` 5"),
            (Noise(name="music"), "`generator` music"),
            (Noise(parameters={**PARAMETERS, "power": 3.0}), r"`power` 3\.0"),
            (Noise(n_samples=12), "`n_samples` 12"),
            (Noise(dtype=torch.float64), "`dtype` float64"),
        ],
    )
    def test_other_sets_are_refused(self, tmp_path, other, match):
        other.make(tmp_path / "a.h5", shard="1/2")
        Noise().make(tmp_path / "a.h5", shard="2/2")
        rule = rf"a\.shard-1-of-2\.h5 must be a shard of the set to make, got {match}\. Remove it"
        with pytest.raises(ValueError, match=rule):
            Noise().make(tmp_path / "a.h5")
        assert len(list(tmp_path.iterdir())) == 2  # nothing was begun, nothing lost

    @pytest.mark.parametrize("content", [b"", b"hello"])
    def test_foreign_files_of_that_name(self, tmp_path, content):
        (tmp_path / "a.shard-1-of-2.h5").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.shard-1-of-2\.h5 must be a shard that can be"):
            Noise().make(tmp_path / "a.h5")

    @pytest.mark.parametrize(
        ("parameters", "words"),
        [(None, "no 'parameters' in it"), ("{}", "no 'shard' in it"), ("{", "Expecting property")],
    )
    def test_hdf5_of_that_name(self, tmp_path, parameters, words):
        with h5py.File(tmp_path / "a.shard-1-of-2.h5", "w") as file:
            if parameters is not None:
                file.attrs["parameters"] = parameters
        with pytest.raises(ValueError, match=rf"a\.shard-1-of-2\.h5 must be .* got {words}"):
            Noise().make(tmp_path / "a.h5")

    def test_renamed_set_is_no_shard(self, tmp_path, whole):
        whole.rename(tmp_path / "a.shard-1-of-2.h5")
        with pytest.raises(ValueError, match="a shard that can be read and that no process"):
            Noise().make(tmp_path / "a.h5")

    def test_shard_being_written(self, tmp_path):
        path = Noise().make(tmp_path / "a.h5", shard="1/4")
        script = f"import h5py; f = h5py.File({str(path)!r}, 'r+'); print('open'); input()"
        command = [sys.executable, "-u", "-c", script]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout.readline() == b"open\n"
            with pytest.raises(ValueError, match=r"no process writes, got .*lock.* Wait for that"):
                Noise().make(tmp_path / "a.h5")
            other.communicate(b"\n")
        assert torch.equal(FieldFile(Noise().make(tmp_path / "a.h5")).read(), values())

    def test_only_shards_of_this_output(self, tmp_path):
        for name in ("b.shard-1-of-2.h5", "aa.shard-1-of-2.h5", "a.shard-x-of-2.h5", "a.shard.h5"):
            (tmp_path / name).write_bytes(b"")
        for name in ("a.shard-2-of-2.h5", ".a.shard-1-of-2.part.h5"):
            (tmp_path / name).write_bytes(b"")
        found = [path.name for path in shard_files(tmp_path / "a.h5")]
        assert found == [".a.shard-1-of-2.part.h5", "a.shard-2-of-2.h5"]

    def test_lost_end_of_a_shard(self, tmp_path):
        path = Noise().make(tmp_path / "a.h5", shard="1/2")
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match="must be a shard that can be read") as caught:
            Noise().make(tmp_path / "a.h5")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("marks", "start", "expected"),
    [
        ([], 0, []),
        ([0, 0], 0, []),
        ([1, 1], 0, [range(0, 2)]),
        ([1, 0, 1, 1, 0], 0, [range(0, 1), range(2, 4)]),
        ([1, 1, 1, 0, 1], 2, [range(2, 3), range(4, 5)]),
    ],
)
def test_runs(marks, start, expected):
    assert runs(np.array(marks, dtype=bool), start) == expected


def test_parameters_are_json(tmp_path):
    path = Noise().make(tmp_path / "a.h5", shard="1/2")
    with h5py.File(path) as file:
        assert json.loads(file.attrs["parameters"])["shard"]["of"] == 2
