"""Conversion of the models that people have: GPT-2, BERT, ViT and Llama of transformers."""

import os

import pytest
import torch
from tolerances import assert_close

from monarch_sciml.models import (
    conversion_record,
    conversion_table,
    densify,
    monarchize,
    register_transformers,
    restore_conversion,
)

os.environ.setdefault("HF_HUB_OFFLINE", "1")
transformers = pytest.importorskip("transformers", reason="needs transformers (the dev extra)")
pytestmark = pytest.mark.filterwarnings("ignore")

WORDS = {"input_ids": torch.arange(16).view(2, 8)}
PIXELS = {"pixel_values": torch.linspace(-1, 1, 2 * 3 * 16 * 16).view(2, 3, 16, 16)}
SIZES = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2}
TOKENS = {"vocab_size": 48, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


def gpt2():
    config = transformers.GPT2Config(n_layer=1, n_embd=32, n_head=2, n_positions=16, **TOKENS)
    return transformers.GPT2LMHeadModel(config), WORDS


def bert():
    config = transformers.BertConfig(**SIZES, intermediate_size=64, **TOKENS)
    return transformers.BertForMaskedLM(config), WORDS


def vit():
    config = transformers.ViTConfig(**SIZES, intermediate_size=64, image_size=16, patch_size=8)
    return transformers.ViTForImageClassification(config), PIXELS


def llama():
    config = transformers.LlamaConfig(
        **SIZES, num_key_value_heads=1, intermediate_size=64, **TOKENS
    )
    return transformers.LlamaForCausalLM(config), WORDS


MODELS = [gpt2, bert, vit, llama]
TIED = {gpt2: ["lm_head", "transformer.wte"], bert: ["*decoder", "*word_embeddings"]}


@pytest.fixture(autouse=True)
def quiet():
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def logits(model, inputs):
    with torch.no_grad():
        return model.eval()(**inputs).logits


@pytest.mark.parametrize("make", MODELS)
def test_all_inner_layers_are_converted_saved_and_loaded(make, tmp_path):
    model, inputs = make()
    monarch = monarchize(model, linear=True)
    table = conversion_table(monarch)
    inner = [n for n, m in model.named_modules() if type(m).__name__ in ("Linear", "Conv1D")]
    heads = {"lm_head", "classifier", "cls.predictions.decoder"}
    assert [row.layer for row in table] == [name for name in inner if name not in heads]
    assert monarch.num_parameters() < model.num_parameters()
    monarch.tie_weights()
    expected = logits(monarch, inputs)
    monarch.save_pretrained(tmp_path / "monarch")
    loaded = type(model).from_pretrained(tmp_path / "monarch")
    assert torch.equal(logits(loaded, inputs), expected)
    assert conversion_record(loaded) == conversion_record(monarch)
    dense = densify(loaded)
    assert_close(logits(dense, inputs), expected, relative=1e-05)
    assert {n: type(m) for n, m in dense.named_modules()} == {
        n: type(m) for n, m in model.named_modules()
    }
    dense.save_pretrained(tmp_path / "dense")
    again = type(model).from_pretrained(tmp_path / "dense")
    assert torch.equal(logits(again, inputs), logits(dense, inputs))


@pytest.mark.parametrize("make", TIED)
def test_tied_words_are_converted_together_and_tied_again(make, tmp_path):
    model, inputs = make()
    monarch = monarchize(model, linear=True, include=TIED[make], rank=4)
    head, words = monarch.get_output_embeddings(), monarch.get_input_embeddings()
    assert head.left is words.left
    expected = logits(monarch, inputs)
    monarch.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert torch.equal(logits(loaded, inputs), expected)
    assert loaded.get_output_embeddings().right is loaded.get_input_embeddings().right
    dense = densify(loaded)
    assert dense.get_output_embeddings().weight is dense.get_input_embeddings().weight
    assert_close(logits(dense, inputs), expected, relative=1e-05)
    with pytest.raises(ValueError, match="both must be converted, or none"):
        monarchize(model, linear=True, include=TIED[make][0])


def test_enough_rank_is_the_same_model():
    model, inputs = gpt2()
    monarch = monarchize(model, linear=True, parameters=10)
    assert_close(logits(monarch, inputs), logits(model, inputs), relative=0.0001)


def test_a_record_restores_a_model_without_save_pretrained():
    model, inputs = gpt2()
    monarch = monarchize(model, linear=True)
    record = conversion_record(monarch)
    fresh = restore_conversion(gpt2()[0], record)
    fresh.load_state_dict(monarch.state_dict())
    assert torch.equal(logits(fresh, inputs), logits(monarch, inputs))
    with pytest.raises(ValueError, match="the layers of the record, got none named 'trans"):
        restore_conversion(bert()[0], record)
    with pytest.raises(ValueError, match=r"must be a dense layer to be converted, got MonarchLin"):
        restore_conversion(fresh, record)


def test_registration_is_done_once():
    assert register_transformers() is register_transformers()
