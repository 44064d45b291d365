"""Losses and weights that are no longer finite."""

from __future__ import annotations

from torch import Tensor, nn

from monarch_sciml._checks import message


class TrainingDiverged(RuntimeError):
    """Error that the loss or a weight became NaN or infinite; the last good checkpoint is kept."""


def check_losses(losses: Tensor, *, first_step: int, epoch: int) -> None:
    """Raise TrainingDiverged, naming the first bad step, when a loss is not finite.

    Parameters
    ----------
    losses
        Losses of consecutive steps, on the CPU.
    first_step
        Step of the first of them, counted from 1 over the whole run.
    epoch
        The epoch under way, counted from 1.
    """
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        first = int(bad[0])
        got = f"{float(losses[first])} at step {first_step + first}"
        raise _diverged("the loss must stay finite", got, epoch)


def check_weights(model: nn.Module, *, step: int, epoch: int) -> None:
    """Raise TrainingDiverged, naming the first bad weight, when one is not finite."""
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            got = f"NaN or infinity in {name} at step {step}"
            raise _diverged("the weights must stay finite", got, epoch)


def _diverged(rule: str, got: str, epoch: int) -> TrainingDiverged:
    remedy = (
        "Lower `learning_rate`, set `gradient_clip`, or look for bad values in the data; "
        f"the checkpoint after epoch {epoch - 1} is kept."
    )
    return TrainingDiverged(message(rule, f"{got} in epoch {epoch}", remedy))
