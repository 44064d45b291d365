"""A language model of the shape of GPT-2, from the package transformers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from monarch_sciml._checks import message, positive_int
from monarch_sciml.models.network import Network


class GPT2(Network):
    """Predict the next token of a text by GPT2LMHeadModel of transformers, with random weights.

    Parameters
    ----------
    grid_shape
        Length of the longest context, (T,), in tokens.
    in_channels
        Size of the vocabulary, which is 256 for bytes.
    out_channels
        Size of the vocabulary again, because a data module states the channels of its targets too.
    hidden_channels, n_layers, n_heads
        Width, number of blocks, and number of attention heads in each block.
    mlp_ratio
        Hidden width of the two-layer network of a block, in units of `hidden_channels`.
    dropout
        Probability of dropout at every place where GPT-2 has it.

    Raises
    ------
    ModuleNotFoundError
        When transformers is not installed.
    ValueError
        When the width is not a multiple of the heads, or the vocabularies differ.

    References
    ----------
    Radford et al., "Language models are unsupervised multitask learners", 2019.
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        in_channels: int = 256,
        out_channels: int = 256,
        *,
        hidden_channels: int = 256,
        n_layers: int = 4,
        n_heads: int = 4,
        mlp_ratio: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        try:
            from transformers import GPT2Config, GPT2LMHeadModel
        except ModuleNotFoundError as error:
            rule = "the network GPT2 needs the package transformers"
            remedy = "pip install 'monarch_sciml[language]'."
            raise ModuleNotFoundError(message(rule, f"no module {error.name}", remedy)) from error
        if len(grid_shape) != 1 or in_channels != out_channels:
            rule = "a language model needs one axis, and the same tokens in and out"
            got = f"{len(grid_shape)} axes, {in_channels} and {out_channels} tokens"
            raise ValueError(message(rule, got, "Give it text data."))
        width = positive_int("hidden_channels", hidden_channels)
        if width % positive_int("n_heads", n_heads):
            rule = "`hidden_channels` must be a multiple of `n_heads`"
            raise ValueError(message(rule, f"{width} and {n_heads}", "Change one of them."))
        configuration: Any = GPT2Config(
            vocab_size=positive_int("in_channels", in_channels), n_positions=grid_shape[0],
            n_embd=width, n_layer=positive_int("n_layers", n_layers), n_head=n_heads,
            n_inner=positive_int("mlp_ratio", mlp_ratio) * width, resid_pdrop=dropout,
            embd_pdrop=dropout, attn_pdrop=dropout, bos_token_id=0, eos_token_id=0, use_cache=False,
        )  # fmt: skip
        self.grid_shape = tuple(grid_shape)
        self.transformer = GPT2LMHeadModel(configuration)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T) to scores of the next ones (B, T, vocabulary).

        Raises
        ------
        ValueError
            When there are more tokens than the longest context of the network.
        """
        if tokens.shape[-1] > self.grid_shape[0]:
            rule = f"a context must have at most {self.grid_shape[0]} tokens"
            raise ValueError(message(rule, tokens.shape[-1], "Cut the text."))
        return self.transformer(input_ids=tokens).logits
