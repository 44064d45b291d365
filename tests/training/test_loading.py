"""Batches of one size each: every sample once, several processes in step, the loop end to end."""

import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import Dataset, default_collate

from monarch_sciml.training import Budget, Optimisation, evaluate_model, train
from monarch_sciml.training.batches import EpochSampler, GroupedBatchSampler, SharedBatches
from monarch_sciml.training.loading import batch_groups, stacked
from monarch_sciml.training.objective import RolloutObjective
from monarch_sciml.training.reconstruction_objective import ReconstructionObjective


@settings(deadline=None, max_examples=60)
@given(
    groups=st.lists(st.sampled_from("abc"), min_size=1, max_size=30),
    batch_size=st.integers(1, 5),
    seed=st.integers(0, 100),
)
def test_batches_of_one_group(groups, batch_size, seed):
    batches = GroupedBatchSampler(EpochSampler(len(groups), seed), groups, batch_size)
    drawn = list(batches)
    assert len(drawn) == len(batches)
    assert all(len({groups[i] for i in batch}) == 1 for batch in drawn)
    assert sorted(i for batch in drawn for i in batch) == list(range(len(groups)))
    assert all(len(batch) <= batch_size for batch in drawn)
    assert len(drawn) == sum(math.ceil(n / batch_size) for n in Counter(groups).values())


@settings(deadline=None, max_examples=100)
@given(
    n_samples=st.integers(1, 40),
    n_processes=st.integers(1, 4),
    more=st.integers(0, 5),
    grouped=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_the_processes_divide_the_batches_of_one(n_samples, n_processes, more, grouped, epoch):
    def batches(process, n_processes):
        sampler = EpochSampler(n_samples, seed=7)
        sampler.set_epoch(epoch)
        groups = [i % 3 for i in range(n_samples)] if grouped else None
        size = more + 4
        return SharedBatches(sampler, size, groups=groups, process=process, n_processes=n_processes)

    whole = list(batches(0, 1))
    parts = [batches(process, n_processes) for process in range(n_processes)]
    drawn, shares = [list(part) for part in parts], [list(part.shares()) for part in parts]
    assert {len(part) for part in parts} == {len(whole)} == {len(part) for part in drawn}
    for step, batch in enumerate(whole):
        counts = [share[step][0] for share in shares]
        assert {share[step][1] for share in shares} == {len(batch)}
        assert sum(counts) == len(batch) and max(counts) - min(counts) <= 1
        own = [part[step] for part in drawn]
        assert [i for part, count in zip(own, counts) for i in part[:count]] == batch
        assert all(len(part) == max(count, 1) for part, count in zip(own, counts))


def test_the_order_is_that_of_the_epoch():
    sampler = EpochSampler(12, seed=1)
    batches = GroupedBatchSampler(sampler, "aabbccaabbcc", 2)
    first = list(batches)
    assert list(batches) == first
    sampler.set_epoch(1)
    assert list(batches) != first


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("part", ["train", "evaluate"])
def test_samples_that_do_not_fit_together_are_named(part, num_workers, tmp_path):
    samples = [{"input": torch.ones(1, 1, n), "target": torch.ones(1, 1, n)} for n in (6, 6, 8)]
    data = SimpleNamespace(train=samples, validation=None)
    words = r"`input` must have one shape in all samples of a batch, got \(1, 1, [68]\) and \(1, 1,"
    with pytest.raises(ValueError, match=words):
        if part == "evaluate":
            evaluate_model(
                nn.Identity(), RolloutObjective(), samples, batch_size=3, num_workers=num_workers
            )
        else:
            train(
                nn.Conv1d(1, 1, 1),
                RolloutObjective(),
                data,
                optimisation=Optimisation(),
                budget=Budget(epochs=1, batch_size=3),
                output=tmp_path / "run",
                progress=False,
                num_workers=num_workers,
            )


def test_stacking_is_torchs_where_it_can_be():
    samples = [{"a": torch.arange(3) + i, "b": i, "c": np.float32(i)} for i in range(4)]
    ours, theirs = stacked(samples), default_collate(samples)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


class Ragged(Dataset):
    """Slices of two sizes in the layout of an MRI sample, one coil of sensitivity one."""

    def __init__(self):
        self.sizes = [(9, 7), (8, 10), (9, 7), (8, 10), (9, 7), (9, 7), (8, 10)]
        generator = torch.Generator().manual_seed(0)
        self.images = [
            torch.randn(*size, dtype=torch.complex64, generator=generator) for size in self.sizes
        ]

    @property
    def batch_groups(self):
        return self.sizes

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image = self.images[i]
        return {
            "masked_kspace": image[None],
            "mask": torch.ones(image.shape),
            "coil_maps": torch.ones(1, *image.shape, dtype=torch.complex64),
            "target": image,
            "scale": torch.tensor(1.0),
            "max": image.abs().max(),
            "volume": torch.tensor(i),
            "slice": torch.tensor(0),
        }


class Gain(nn.Module):
    """One number, starting at zero; it should become one."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(()))
        self.shapes = []

    def forward(self, masked_kspace, mask, coil_maps):
        self.shapes.append(tuple(masked_kspace.shape))
        return self.gain * masked_kspace[:, 0]


def test_the_loop_trains_and_evaluates_on_slices_of_different_size(tmp_path):
    data, model = Ragged(), Gain()
    objective = ReconstructionObjective(criterion="mse")
    optimisation, budget = Optimisation(learning_rate=0.1), Budget(epochs=40, batch_size=2)
    result = train(
        model,
        objective,
        SimpleNamespace(train=data, validation=None),
        optimisation=optimisation,
        budget=budget,
        output=tmp_path / "run",
        progress=False,
    )
    assert result.progress.step == 40 * 4  # 4 slices of one size and 3 of the other
    assert model.gain.item() == pytest.approx(1, abs=0.05)
    assert {shape[-2:] for shape in model.shapes} == {(9, 7), (8, 10)}
    assert max(shape[0] for shape in model.shapes) == 2
    with torch.no_grad():
        model.gain.fill_(0.5)
    metrics = evaluate_model(model, objective, data, batch_size=4)
    torch.testing.assert_close(metrics["nmse"], torch.full((7,), 0.25).to(metrics["nmse"]))


def test_groups_that_do_not_fit_the_data_set_are_refused():
    data = Ragged()
    assert batch_groups(data) == data.sizes
    data.sizes = [(9, 7)] * 7
    assert batch_groups(data) is None
    data.sizes = [(9, 7), (8, 10)]
    with pytest.raises(ValueError, match="group of each of 7 samples, got 2 names"):
        batch_groups(data)
    assert batch_groups(data.images) is None
