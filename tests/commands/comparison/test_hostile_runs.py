"""Run directories of a stranger: whatever they hold, they are read as data and run nothing."""

import os
import pickle
import sys

import pytest
import torch
import yaml

from monarch_sciml.cli import main
from monarch_sciml.commands.comparison.config_errors import plain_words
from monarch_sciml.commands.comparison.evaluate import evaluate_run
from monarch_sciml.commands.comparison.trained_run import check_folder_name
from monarch_sciml.models import FNO
from monarch_sciml.training import save_checkpoint

MARK = "it-ran"
SHELL = f"touch {MARK}"
SPEC = """{"kind": "FieldSpec", "network_arguments": {"grid_shape": [12], "in_channels": 2,
 "out_channels": 1}, "fields": ["u"], "grid_shape": [12], "n_steps_in": 2, "n_steps_out": 2,
 "n_fields_in": 1, "n_fields_out": 1, "domain_extent": [1.0],
 "boundary": ["periodic"], "dt": 0.5}"""
NETWORK = {"class_path": "monarch_sciml.models.FNO", "init_args": {"n_modes": [4], "n_layers": 1}}


@pytest.fixture
def run(waves, tmp_path, monkeypatch):
    """A whole run directory made by hand, and modules and files that must not be loaded."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "spec.json").write_text(SPEC)
    model = FNO((12,), in_channels=2, out_channels=1, n_modes=(4,), n_layers=1)
    save_checkpoint(folder / "checkpoints" / "best", model)
    planted = f"import pathlib\npathlib.Path({MARK!r}).touch()\nclass Net: pass\n"
    (tmp_path / "evilmod.py").write_text(planted)
    evil = {"class_path": "evilmod.Net"}
    for name in ("fourier", "evil.yaml"):  # files that a word of the configuration might name
        (tmp_path / name).write_text(yaml.safe_dump(evil))
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def configured(run, changes, base):
    """Write the configuration of the run with some of it replaced."""
    values = {**base, "network": NETWORK, "seed": 0}
    for path, value in changes.items():
        *above, last = path.split(".")
        place = values = dict(values)
        for key in above:
            place[key] = dict(place.get(key) or {})
            place = place[key]
        place[last] = value
    (run / "config.yaml").write_text(yaml.safe_dump(values))


def evaluated(run, changes, *arguments, base):
    """Evaluate a run with some of its configuration replaced; the exit status."""
    configured(run, changes, base)
    return main(["evaluate", str(run), "--progress", "false", *arguments])


def call(class_path, /, **options):
    return {"class_path": class_path, "init_args": options}


HOSTILE = [
    # our modules hold what they import
    ("network", call("monarch_sciml._files.os.system", command=SHELL)),
    ("network", call("monarch_sciml._files.tempfile._os.system", command=SHELL)),
    ("network", call("monarch_sciml.cli.os.system", command=SHELL)),
    ("network", call("monarch_sciml.models.operators.fno.torch.hub.load", repo_or_dir="a/b")),
    ("network", call("monarch_sciml.__main__.main")),
    ("network", call("monarch_sciml.cli.main")),
    ("network", call("monarch_sciml.training.loop.nn.Linear", in_features=1, out_features=1)),
    ("network", call("monarch_sciml._files._searched.add")),
    # other packages
    ("network", call("os.system", command=SHELL)),
    ("network", call("subprocess.Popen", args=SHELL, shell=True)),
    ("network", call("builtins.exec", source=f"open({MARK!r}, 'w')")),
    ("network", call("functools.partial", func="os.system")),
    ("network", call("torch.nn.Linear", in_features=1, out_features=1)),
    ("network", call("evilmod.Net")),
    ("network", call("monarch_sciml.evilmod.Net")),
    ("network", call("monarch_sciml..models.FNO")),
    ("network", call("monarch_sciml_evil.Net")),
    ("network", call(["monarch_sciml.models.FNO"])),
    ("network", call({"class_path": "evilmod.Net"})),
    # text where an object belongs: the name of a class, a function, a file
    ("network", "evilmod.Net"),
    ("network", "os.system"),
    ("network", "evil.yaml"),
    ("data", "evilmod.Net"),
    ("data", "evil.yaml"),
    ("objective", "evilmod.Net"),
    ("optimisation", "evilmod.Net"),
    ("optimisation", "evil.yaml"),
    ("budget", "evilmod.Net"),
    ("options", "evil.yaml"),
    ("network", ["evilmod.Net"]),
    # objects inside objects
    ("network.init_args.n_modes", call("evilmod.Net")),
    ("network.init_args.n_modes", [call("os.system", command=SHELL)]),
    ("network.init_args.transform", call("evilmod.Net")),
    ("network.init_args.transform", "evilmod.Net"),
    ("network.dict_kwargs", {"n_modes": call("os.system", command=SHELL)}),
    ("network.dict_kwargs", {"activation": call("os.system", command=SHELL)}),
    ("network.dict_kwargs", [call("os.system", command=SHELL)]),
    ("data.init_args.path", call("evilmod.Net")),
    ("data.init_args.fields", [call("evilmod.Net")]),
    ("data.init_args.test_path", {"a": call("evilmod.Net")}),
    ("data.dict_kwargs", {"deep": [{"deeper": call("evilmod.Net")}]}),
    ("objective.init_args.metrics", [call("evilmod.Net")]),
    ("optimisation", call("os.system", command=SHELL)),
    ("optimisation.learning_rate", call("evilmod.Net")),
    ("budget.epochs", call("evilmod.Net")),
    ("budget", {"epochs": "evilmod.Net", "batch_size": 2}),
    # a class of ours in the wrong place
    ("network", call("monarch_sciml.data.TrajectoryModule", path="waves.h5")),
    ("data", NETWORK),
    ("objective", call("monarch_sciml.training.Objective")),
    ("budget", call("monarch_sciml.data.FieldWriter", path=MARK)),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value"), HOSTILE)
def test_a_hostile_configuration_is_one_line_and_runs_nothing(run, waves, tmp_path, place, value):
    before = set(sys.modules)
    configured(run, {place: value}, waves)
    with pytest.raises(ValueError) as error:
        evaluate_run(run, progress=False)
    assert len(plain_words(str(error.value)).splitlines()) == 1
    assert not (tmp_path / MARK).exists()
    assert not {"evilmod", "monarch_sciml.evilmod"} & (set(sys.modules) - before)


def test_the_same_run_without_the_attack_is_evaluated(run, waves, capsys):
    assert evaluated(run, {}, base=waves) == 0
    assert "relative_l2" in capsys.readouterr().out


def test_classes_of_the_user_need_a_word_of_the_user(run, waves, tmp_path, capsys):
    source = "from monarch_sciml.models import FNO\nclass MyNet(FNO): pass\n"
    (tmp_path / "mynets.py").write_text(source)
    mine = {"network": {**NETWORK, "class_path": "mynets.MyNet"}}
    assert evaluated(run, mine, base=waves) == 1
    assert "may name classes of monarch_sciml only, got mynets.MyNet. Pass --trust true" in (
        capsys.readouterr().err
    )
    assert evaluated(run, mine, "--trust", "true", base=waves) == 0
    (tmp_path / "mydata.py").write_text(
        "from monarch_sciml.data import TrajectoryModule\nclass Data(TrajectoryModule): pass\n"
    )
    data = {**waves["data"], "class_path": "mydata.Data"}
    change = yaml.safe_dump(data, default_flow_style=True, width=1000)
    capsys.readouterr()
    assert evaluated(run, {}, "--data", change.strip(), base=waves) == 0, capsys.readouterr().err


@pytest.mark.parametrize("options", ["n_step", ["path"], 3])
def test_options_that_are_no_mapping_cannot_be_changed(run, waves, capsys, options):
    changed = ["--data.path", "waves.h5"]
    assert evaluated(run, {"data.init_args": options}, *changed, base=waves) == 1
    words = f"`init_args` in {run / 'config.yaml'} must be a mapping of options to values, got "
    assert f"error: {words}" in (said := capsys.readouterr().err) and said.count("\n") == 1
    assert evaluated(run, {}, "--data.init_args", repr(options), base=waves) == 2
    said = capsys.readouterr().err
    assert "error: `init_args` must be a mapping of options" in said and said.count("\n") == 1


BOMB = "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9) if before else '0, ' * 8 + '0'}]\n"
    for before, name in zip(["", *"abcdefgh"], "abcdefghi")
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "aliases that stand for too many values"),
        ("a: &a [*a]", "inside each other without end"),
        ("a: &a {b: *a}", "inside each other without end"),
        ("[" * 500, "inside each other without end|lists inside lists without end"),
        ("network: !!python/object/apply:os.system [touch it-ran]", "could not determine a cons"),
        ("!!python/object/new:os.system [touch it-ran]", "could not determine a constructor"),
        ("network: !include /etc/passwd", "could not determine a constructor"),
        ("a: " + "9" * 5000, "digits|config.yaml must be"),
        ("x" * 1_100_000, "1100000 bytes"),
        ("a: \x1b]0;title\x07", "characters that are not allowed"),
        ("- 1", r"must be the configuration of a run, got \[1\]"),
        ("data: [", "in line 1"),
        ("", "got None"),
    ],
)
def test_yaml_that_is_more_than_data_is_refused_at_once(run, tmp_path, text, words):
    (run / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=words) as error:
        evaluate_run(run, progress=False)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / MARK).exists()


class Attack:
    def __reduce__(self):
        return os.system, (SHELL,)


@pytest.mark.parametrize("kind", ["zip", "legacy", "raw"])
def test_pickles_in_a_checkpoint_are_not_run(run, waves, tmp_path, capsys, kind):
    """As weights, and as the state that a training would go on from."""
    torch.save({"progress": Attack()}, tmp_path / "zip")
    torch.save(Attack(), tmp_path / "legacy", _use_new_zipfile_serialization=False)
    (tmp_path / "raw").write_bytes(pickle.dumps(Attack()))
    attack = (tmp_path / kind).read_bytes()
    best = run / "checkpoints" / "best"
    (best / "checksums.json").unlink()
    (best / "model.safetensors").write_bytes(attack)
    assert evaluated(run, {}, base=waves) == 1
    assert "must be a whole safetensors file" in capsys.readouterr().err
    last = run / "checkpoints" / "last"
    best.rename(last)
    (last / "state.pt").write_bytes(attack)
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({**waves, "network": NETWORK}))
    resume = ["train", "--config", "train.yaml", "-o", str(run), "--options.resume", "true"]
    assert main(resume) == 1
    err = capsys.readouterr().err
    assert "state.pt" in err and err.count("\n") == 1, err
    assert not (tmp_path / MARK).exists()


SPECS = ["{", "[]", "3", '{"kind": "FieldSpec"}', "[" * 2000]
SPECS += [SPEC.replace('"grid_shape": [12], "in', '"in'), SPEC.replace("[12]", "{}", 1)]
SPECS += [SPEC.replace('"n_steps_in": 2, ', ""), SPEC.replace('{"grid_shape"', '{"x": 1, "y"', 1)]
SPECS += [SPEC.replace('{"grid_shape": [12], "in_channels": 2,\n "out_channels": 1}', "[1]")]


@pytest.mark.parametrize("text", SPECS)
def test_a_damaged_spec_is_one_line(run, waves, text):
    (run / "spec.json").write_text(text)
    configured(run, {}, waves)
    with pytest.raises(ValueError, match=r"spec.json must say what the network was|size") as e:
        evaluate_run(run, progress=False)
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["../up", "/tmp", "a/b", "a\\b", "..", ".", "", " a", "a\n", "a."])
def test_names_of_networks_are_names_of_folders(name):
    with pytest.raises(ValueError, match="`networks` must have names that folders can have"):
        check_folder_name("networks", name)
    check_folder_name("networks", "mSENSE + weighting (2x), 3.5")


def test_networks_are_not_trained_outside_the_output(waves, tmp_path, capsys):
    networks = {"../../escape": {"network": NETWORK}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**waves, "networks": networks}))
    assert main(["compare", "--config", "c.yaml", "--output", str(tmp_path / "in/out")]) == 1
    assert "got '../../escape'. Rename it." in capsys.readouterr().err
    assert not (tmp_path / "in").exists()


def test_escape_codes_of_a_file_reach_no_terminal(run, waves, capsys):
    evil = "\x1b]0;owned\x07\x1b[2J\u202egpj"
    assert evaluated(run, {"network.class_path": f"os{evil}"}, base=waves) == 1
    assert evaluated(run, {"data.init_args.path": f"{evil}.h5"}, base=waves) == 1
    err = capsys.readouterr().err
    assert not {"\x1b", "\x07", "\u202e"} & set(err) and "\\x1b]0;owned" in err


def test_a_link_as_output_is_replaced_not_followed(waves, tmp_path, capsys, monkeypatch):
    """A run directory with links to files of the user, in which the user trains on."""
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    names = ["config.yaml", "spec.json", "metrics.csv", "environment.json", "results.csv"]
    for name in [*names, ".lock", "report.html"]:
        (run / name).symlink_to(precious)
    monkeypatch.setattr(
        "monarch_sciml.commands.comparison.outputs.draw_figures", lambda *_, **__: {}
    )
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({**waves, "network": NETWORK}))
    main(["train", "--config", "train.yaml", "-o", str(run), "--options.resume", "true"])
    assert precious.read_text() == "mine"
