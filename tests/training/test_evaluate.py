import pytest
import torch
from torch import nn

from monarch_sciml.training import RolloutObjective, evaluate_model
from monarch_sciml.training.evaluate import mean_metrics


def test_result_does_not_depend_on_the_batch_size_and_keeps_the_order(tiny):
    model, samples = tiny.Network(), tiny.Fields(7)
    whole = evaluate_model(model, RolloutObjective(), samples, batch_size=7)
    assert whole["relative_l2"].shape == (7,)
    for batch_size in (1, 2, 3, 100):
        parts = evaluate_model(model, RolloutObjective(), samples, batch_size=batch_size)
        torch.testing.assert_close(parts, whole, rtol=1e-6, atol=0)
    model.eval()
    for i in range(7):
        batch = {name: value[None] for name, value in samples[i].items()}
        alone = RolloutObjective().evaluate(model, batch)["relative_l2"][0]
        torch.testing.assert_close(alone, whole["relative_l2"][i])


@pytest.mark.parametrize("training", [True, False])
def test_model_is_evaluated_in_eval_mode_and_put_back(tiny, training):
    model = tiny.Network(dropout=0.5).train(training)
    first, second = (
        evaluate_model(model, RolloutObjective(), tiny.Fields(3), batch_size=3) for _ in range(2)
    )
    assert torch.equal(first["relative_l2"], second["relative_l2"])
    assert model.training is training
    assert not any(value.requires_grad for value in first.values())


def test_mode_is_put_back_after_an_error(tiny):
    model = nn.Conv2d(7, 1, 1)
    with pytest.raises(RuntimeError, match="channels"):
        evaluate_model(model, RolloutObjective(), tiny.Fields(3), batch_size=3)
    assert model.training


def test_empty_data_and_bad_batch_sizes_are_refused(tiny):
    with pytest.raises(ValueError, match="must have samples"):
        evaluate_model(tiny.Network(), RolloutObjective(), tiny.Fields(0), batch_size=1)
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        evaluate_model(tiny.Network(), RolloutObjective(), tiny.Fields(1), batch_size=0)


def test_means_are_summed_in_double_precision():
    values = torch.full((1_000_000,), 0.1)
    assert mean_metrics({"x": values})["x"] == pytest.approx(float(values[0]), rel=1e-12)


def test_progress_bar_on_request(tiny, capsys):
    for progress in (True, False):
        evaluate_model(
            tiny.Network(), RolloutObjective(), tiny.Fields(3), batch_size=1, progress=progress
        )
        assert ("evaluate" in capsys.readouterr().err) is progress
