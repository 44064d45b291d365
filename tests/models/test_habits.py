"""What PyTorch users do with any module works with every network."""

import copy
import io
import warnings

import pytest
import torch
from networks import NETWORKS, OPERATORS, RECONSTRUCTIONS, build, inputs
from safetensors.torch import load_file, load_model, save_file, save_model
from tolerances import assert_close
from torch import nn
from torch.optim.swa_utils import AveragedModel

from monarch_sciml import models
from monarch_sciml.models import FNO, FactorizedFNO
from monarch_sciml.models.network import Network

every_network = pytest.mark.parametrize("name", NETWORKS)
pytestmark = pytest.mark.filterwarnings("ignore:.*view_as_complex.*:UserWarning")


def same(a, b, x):
    """Whether two networks give one result, bit by bit."""
    with torch.no_grad():
        return torch.equal(a.eval()(*x), b.eval()(*x))


def fresh(name):
    """Another network of the same kind, with parameters of its own."""
    torch.manual_seed(5)
    return NETWORKS[name]()


@every_network
def test_weights_load_strictly_in_memory_and_from_every_kind_of_file(name, tmp_path):
    network, x = build(name), inputs(name)
    state = network.state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    torch.save(state, tmp_path / "a.pt")
    save_file(state, tmp_path / "a.safetensors")
    save_model(network, str(tmp_path / "b.safetensors"))
    for loaded in (
        state,
        torch.load(tmp_path / "a.pt", weights_only=True),
        load_file(tmp_path / "a.safetensors"),
        {**state, "_metadata": {"_version": "0.1.0"}},  # as neuralop 2.0 writes them
    ):
        other = fresh(name)
        assert not same(network, other, x)
        other.load_state_dict(loaded)
        assert same(network, other, x)
    other = fresh(name)
    assert load_model(other, tmp_path / "b.safetensors") == (set(), [])
    assert same(network, other, x)


@every_network
def test_old_weights_load_into_a_network_inside_another_module(name):
    inside = nn.ModuleDict({"first": build(name), "second": fresh(name)})
    other = nn.ModuleDict({"first": fresh(name), "second": fresh(name)})
    other.load_state_dict({**inside.state_dict(), "_metadata": {"args": ()}})
    assert same(inside["first"], other["first"], inputs(name))


def test_any_other_entry_is_still_refused():
    network = build("monarch-no")
    with pytest.raises(RuntimeError, match=r"Unexpected key.*surprise"):
        network.load_state_dict({**network.state_dict(), "surprise": torch.zeros(1)})


@every_network
def test_copies_and_averages_are_networks_of_their_own(name):
    network, x = build(name), inputs(name)
    network.eval()(*x)  # constants that a forward pass keeps are copied too
    twin, average = copy.deepcopy(network), AveragedModel(network)
    assert same(network, twin, x)
    best = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1)
    average.update_parameters(network)
    assert not same(network, twin, x)
    network.load_state_dict(best)
    assert same(network, twin, x)
    average.load_state_dict(average.state_dict())


@every_network
def test_a_network_trains_after_inference_mode_on_every_grid(name):
    for factor in (1, 2):
        if name == "monarch-sense-plane" and factor == 2:
            continue  # it has its training matrix only
        network, x = build(name), inputs(name, factor)
        with torch.inference_mode():
            network(*x)
        network(*x).abs().sum().backward()
        assert all(p.grad is not None for p in network.parameters() if p.requires_grad)


TRACED = ["fno", "monarch-no", "dense", "monarch-fno-3d", "normalized", "varnet", "monarch-modl"]


@pytest.mark.parametrize("name", TRACED)
def test_export_of_a_fresh_network_leaves_it_as_it_was(name):
    network, twin, x = build(name).eval(), build(name), inputs(name)
    exported = torch.export.export(network, x).module()
    assert_close(exported(*x), twin.eval()(*x))
    assert same(network, twin, x)
    network.train()(*x).abs().sum().backward()


@pytest.mark.parametrize("name", ["fno", "monarch-no", "monarch-sense"])
def test_a_fresh_network_compiles_to_one_graph(name):
    torch._dynamo.reset()
    network, twin, x = build(name).eval(), build(name).eval(), inputs(name)
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert_close(compiled(*x), twin(*x))
    assert same(network, twin, x)


@pytest.mark.parametrize("name", TRACED)
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.trace(_method)?` is")  # deprecated: users call it
def test_jit_trace(name):
    network, twin, x = build(name).eval(), build(name), inputs(name)
    traced = torch.jit.trace(network, x)
    assert_close(traced(*x), twin.eval()(*x))
    assert same(network, twin, x)


@every_network
def test_a_network_built_on_meta_takes_weights(name):
    source, x = build(name), inputs(name)
    with torch.device("meta"):
        network = NETWORKS[name]()
    if name != "monarch-tfno":  # the factors of tltorch cannot be assigned to
        assigned = copy.deepcopy(network)
        assigned.load_state_dict(source.state_dict(), assign=True)
        assert same(source, assigned, x)
    network.to_empty(device="cpu").load_state_dict(source.state_dict())
    assert same(source, network, x)


NEURALOPS_LAYER = {"fno", "fno-padded", "tfno"}  # single precision only, as they say


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in NEURALOPS_LAYER])
def test_a_forward_pass_before_to_changes_nothing(name):
    network, double = build(name).eval(), build(name).double().eval()
    network(*inputs(name))
    x = inputs(name, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(network.double()(*x), double(*x))
        y = network.float()(*inputs(name))
        assert torch.equal(y, build(name).eval()(*inputs(name)))


@every_network
def test_half_precision(name):
    network, x = build(name).eval(), inputs(name)
    with torch.no_grad():
        expected = network(*x)
        network.bfloat16()
        x = tuple(part if part.is_complex() else part.bfloat16() for part in x)
        y = network(*x)
    assert y.dtype == (torch.complex64 if name in RECONSTRUCTIONS else torch.bfloat16)
    assert_close(y.to(expected.dtype), expected, relative=0.1)


@every_network
def test_autocast(name):
    network, x = build(name).eval(), inputs(name)
    with torch.no_grad():
        expected = network(*x)
        with torch.autocast("cpu", torch.bfloat16):
            y = network(*x)
    assert_close(y.to(expected.dtype), expected, relative=0.1)


@pytest.mark.parametrize("name", OPERATORS)
def test_input_of_another_kind_is_named_in_one_line(name):
    network, (x,) = build(name), inputs(name)
    for wrong, text in [
        (x.double(), r"float32.* got (torch\.)?float64\. Convert"),
        (x.half(), r"the input must be torch.float32 .* got torch.float16\. Convert"),
        (x + 0j, r"the input must be real, got torch.complex64\. Pass real and imaginary"),
    ]:
        if name == "normalized" and wrong.dtype == torch.float16:
            continue  # its statistics are in single precision, and so is what they scale
        with pytest.raises(TypeError, match=text) as caught:
            network(wrong)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_kspace_of_another_kind_is_named_in_one_line(name):
    network, (kspace, mask, maps) = build(name), inputs(name)
    with pytest.raises(TypeError, match=r"`masked_kspace` must be complex, got torch.float32"):
        network(kspace.real, mask, maps)
    if "sense" not in name:  # SENSE is linear, and takes either precision
        with pytest.raises(TypeError, match=r"must be torch.complex64, .* got torch.complex128"):
            network(kspace.to(torch.complex128), mask.double(), maps.to(torch.complex128))


@every_network
def test_a_folder_holds_weights_arguments_and_card(name, tmp_path):
    network, x = build(name), inputs(name)
    network.save_pretrained(tmp_path, model_card_kwargs={"results": "nRMSE 0.01"})
    again = type(network).from_pretrained(tmp_path)
    assert same(network, again, x)
    card = (tmp_path / "README.md").read_text("utf-8")
    assert f"# {type(network).__name__} (" in card
    assert "library_name: monarch_sciml" in card
    assert "nRMSE 0.01" in card


def test_every_public_network_is_saved_and_loaded(tmp_path):
    """`NETWORKS` has one of every class but the language model, which takes tokens."""
    public = {
        kind
        for name in models.__all__
        if isinstance(kind := getattr(models, name), type) and issubclass(kind, Network)
    }
    tried = {type(NETWORKS[name]()) for name in NETWORKS}
    assert public - tried == {models.GPT2} and tried <= public
    network = models.GPT2((6,), 11, 11, hidden_channels=8, n_layers=1, n_heads=2)
    network.save_pretrained(tmp_path)
    again = models.GPT2.from_pretrained(tmp_path)
    assert same(network, again, (torch.randint(11, (2, 6)),))
    assert "# GPT2 (" in (tmp_path / "README.md").read_text("utf-8")


@every_network
def test_neuralops_checkpoints(name, tmp_path):
    if name == "normalized":
        pytest.skip("its network is an argument, which those checkpoints cannot hold")
    network = build(name)
    network.save_checkpoint(tmp_path, "best")
    assert same(network, type(network).from_checkpoint(tmp_path, "best"), inputs(name))


@pytest.mark.parametrize("transform", ["fourier", "monarch", "cosine"])
@pytest.mark.parametrize("kind", [FNO, FactorizedFNO])
def test_modes_are_lowered_and_raised_at_run_time(kind, transform):
    torch.manual_seed(0)
    network = kind((16, 16), n_modes=(8, 8), hidden_channels=4, n_layers=2, transform=transform)
    x = torch.randn(1, 1, 16, 16)
    full = network(x)
    network.n_modes = (4, 6)
    assert tuple(network.n_modes) == (4, 6)
    fewer = network(x)
    assert not torch.allclose(fewer, full)
    coarse = network(torch.randn(1, 1, 6, 6))  # a grid for which eight modes were too many
    assert coarse.shape == (1, 1, 6, 6)
    network.n_modes = (8, 8)
    assert torch.equal(network(x), full)
    with pytest.raises(ValueError, match=r"`n_modes` must be at most 8 along axis -1.* got 10"):
        network.n_modes = (8, 10)
    with pytest.raises(ValueError, match="`n_modes` must have 2 sizes"):
        network.n_modes = (8,)


def test_accelerate_saves_and_loads_the_state(tmp_path):
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    for name in ("fno", "monarch-no", "varnet"):
        network = accelerator.prepare(build(name))
        accelerator.save_state(str(tmp_path / name))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
        accelerator.load_state(str(tmp_path / name))
        assert same(network, build(name), inputs(name))
        accelerator.free_memory()


def test_monarch_no_runs_in_onnx_with_real_arithmetic():
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network, x = build("monarch-no").eval(), inputs("monarch-no")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(network, x, dynamo=True, verbose=False)
    file = io.BytesIO(program.model_proto.SerializeToString())
    session = onnxruntime.InferenceSession(file.getvalue())
    name = session.get_inputs()[0].name
    (y,) = session.run(None, {name: x[0].numpy()})
    assert_close(y, network(*x))
