"""The layers of the package and what each file may import, read off the source by `ast`."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "monarch_sciml"

# A file imports from a lower layer or from its own folder.
LAYERS = [
    {"monarch"},
    {"kernels"},  # the fast paths that transforms and layers call
    {"transforms", "metrics"},
    {"layers", "physics"},
    {"solvers"},  # below data, which generates its sets with them
    {"models", "data"},
    {"training", "evaluation"},
    {"commands"},  # one file a command; the command line only parses
    {"cli"},
    {"__main__"},
]
SHARED = {
    "_checks",
    "_files",
    "_reading",
    "_moved",
    "_signals",
    "_signatures",
    "_inspection",
    "_memory",
    "_hdf5_inspection",
}  # for all; they import nothing of the package but each other
MOST_FILES = 22  # in one folder: about twenty, and its facade
ROOT_NAMES = {"__version__"}  # what may be imported from the package itself

# Who may import a library at all, wherever the import stands.
# Commands rebuild a saved run from its configuration, hence jsonargparse.
ONLY_IN = {"accelerate": {"training"}, "jsonargparse": {"commands", "cli"}}
# Never imported when a module is: only inside the function that needs them, except in these places.
LAZY = {
    "h5py": set(),
    "matplotlib": set(),
    "neuralop": {"models", "layers"},
    "nilearn": set(),
    "sigpy": set(),
    "skfem": set(),
    "triton": set(),
    "xarray": set(),
}
# Never imported by the package: its tests, its experiments, its development tools.
FOREIGN = {"experiments", "tests", "exponax", "hypothesis", "pytest", "skimage"}
MAY_PRINT = {"cli"}
# Folders of the machine it was written on, spelled so that this file does not name them itself.
MACHINE_PATH = re.compile(
    r"(?<![\w.\-/])/(?:" + "|".join(["work", "root", "tmp", "home"]) + r")/\w"
)
TEXT = {".py", ".yaml", ".yml", ".toml", ".txt", ".md", ".csv", ".json", ".j2", ".sh", ".cfg"}


def folder_of(path):
    """Return the folder of the package a file belongs to, or its own name at the top."""
    first = Path(path).parts[0]
    return first.removesuffix(".py")


def level_of(folder):
    levels = [level for level, folders in enumerate(LAYERS) if folder in folders]
    return levels[0] if levels else None


def imports(tree, path):
    """Yield (line, dotted name) of everything imported anywhere in a file, made absolute."""
    package = ["monarch_sciml", *Path(path).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            value = getattr(node.args[0], "value", None)
            if name in ("import_module", "__import__") and isinstance(value, str):
                yield node.lineno, value


def run_at_import(node):
    """Yield the statements that run when a module is imported: no function body, no typing."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from (part for stmt in child.orelse for part in (stmt, *run_at_import(stmt)))
            continue
        yield child
        yield from run_at_import(child)


def layer_violations(source, path):
    """Return what a file imports from its own layer or above."""
    folder = folder_of(path)
    found = []
    for line, name in imports(ast.parse(source), path):
        if name.split(".")[0] != "monarch_sciml":
            continue
        target = name.split(".")[1] if "." in name else ""
        if target in SHARED or target in ROOT_NAMES or (target == folder and folder not in SHARED):
            continue
        own, theirs = level_of(folder), level_of(target)
        if folder in SHARED or own is None or theirs is None or theirs >= own:
            found.append(f"{path}:{line} imports {name}")
    return found


def private_violations(source, path):
    """Return the private modules and names that a file takes from another folder of the package."""
    here = Path(path).parent.parts
    found = []
    for line, name in imports(ast.parse(source), path):
        parts = name.split(".")[1:]
        if name.split(".")[0] != "monarch_sciml" or not parts or parts[0] in SHARED:
            continue
        for depth, part in enumerate(parts):
            hidden = part.startswith("_") and not part.startswith("__")
            if hidden and tuple(parts[:depth])[: len(here)] != here:
                found.append(f"{path}:{line} imports {name}")
    return found


def module_of(path):
    """Return the dotted name of a file of the package."""
    parts = ["monarch_sciml", *Path(path).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def circles(sources):
    """Return the groups of modules that need each other to be imported.

    Counted is what runs when a module is imported; a facade that only re-exports counts as the
    files it takes its names from.
    """
    modules = {module_of(path): (path, source) for path, source in sources.items()}
    needs = {}
    for module, (path, source) in modules.items():
        early = ast.Module(body=[], type_ignores=[])
        early.body = [
            node
            for node in run_at_import(ast.parse(source))
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = {name for _, name in imports(early, path)}
        found = {name if name in modules else name.rpartition(".")[0] for name in names}
        needs[module] = {name for name in found if name in modules} - {module}
    order, done, stack = [], set(), []

    def visit(module):
        if module in stack:
            order.append(tuple(stack[stack.index(module) :]))
            return
        if module in done:
            return
        stack.append(module)
        for name in sorted(needs[module]):
            visit(name)
        done.add(stack.pop())

    for module in sorted(needs):
        visit(module)
    return order


def library_violations(source, path):
    """Return the third-party imports that a file must not have, or not when it is imported."""
    folder, tree = folder_of(path), ast.parse(source)
    found = []
    for line, name in imports(tree, path):
        top = name.split(".")[0]
        if top in FOREIGN or folder not in ONLY_IN.get(top, {folder}):
            found.append(f"{path}:{line} imports {top}")
    early = ast.Module(body=[], type_ignores=[])
    early.body = [n for n in run_at_import(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    for line, name in imports(early, path):
        top = name.split(".")[0]
        if folder not in LAZY.get(top, {folder}):
            found.append(f"{path}:{line} imports {top} before it is needed")
    return found


def print_violations(source, path):
    """Return the calls of print in a file that must not print."""
    if folder_of(path) in MAY_PRINT:
        return []
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [f"{path}:{c.lineno} prints" for c in calls if getattr(c.func, "id", "") == "print"]


def path_violations(text, path):
    """Return the lines that name a folder of one machine."""
    lines = enumerate(text.splitlines(), start=1)
    return [
        f"{path}:{number} {line.strip()}" for number, line in lines if MACHINE_PATH.search(line)
    ]


def modules():
    return {p.relative_to(PACKAGE): p.read_text("utf-8") for p in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize(
    "check", [layer_violations, private_violations, library_violations, print_violations]
)
def test_the_package_keeps_its_rules(check):
    found = [entry for path, source in modules().items() for entry in check(source, path)]
    assert not found, "\n".join(found)


def test_no_module_needs_itself_to_be_imported():
    assert circles(modules()) == []


def test_planted_circles_and_private_imports_are_found():
    files = {
        "data/a.py": "from monarch_sciml.data.b import x",
        "data/b.py": "def f():\n    from monarch_sciml.data.a import y",
    }
    assert circles(files) == []
    files["data/b.py"] = "from monarch_sciml.data.a import y"
    assert circles(files) == [("monarch_sciml.data.a", "monarch_sciml.data.b")]
    secret = "from monarch_sciml.data._secret import x"
    assert private_violations(secret, "models/a.py") and not private_violations(secret, "data/a.py")
    assert private_violations("from monarch_sciml.data.b import _x", "models/a.py")


def test_no_folder_is_flat():
    folders = Counter(path.parent for path in modules())
    assert {folder: n for folder, n in folders.items() if n > MOST_FILES} == {}


def test_every_folder_has_a_layer():
    folders = {folder_of(path) for path in modules()} - SHARED - {"__init__"}
    assert folders <= set().union(*LAYERS)


def test_no_file_names_a_path_of_one_machine():
    files = [p for p in ROOT.iterdir() if p.is_file()]
    for folder in ("monarch_sciml", "tests", "configs", "experiments", ".ci"):
        files += [p for p in (ROOT / folder).rglob("*") if p.is_file()]
    text = [p for p in files if p.suffix in TEXT or p.name in ("Makefile", "run")]
    assert len(text) > 30
    found = [
        entry for p in text for entry in path_violations(p.read_text("utf-8"), p.relative_to(ROOT))
    ]
    assert not found, "\n".join(found)


def light_modules():
    """Return every module but those that may import a heavy library."""
    heavy = {"__main__", "cli"}.union(*LAZY.values())
    names = ["monarch_sciml"]
    for path in modules():
        if folder_of(path) not in heavy and path.name != "__init__.py":
            names.append(".".join(["monarch_sciml", *path.with_suffix("").parts]))
    return names


def loaded_by(names):
    """Return the names of `LAZY` and `ONLY_IN` that importing modules in a new process loads."""
    watched = sorted({*LAZY, *ONLY_IN})
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(*(name for name in {watched!r} if name in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_importing_the_package_loads_no_heavy_library():
    assert loaded_by(["monarch_sciml"]) == set()


def test_importing_its_modules_loads_no_heavy_library():
    # torch and accelerate themselves load triton where it is installed
    above = (".training", ".commands")  # on accelerate, and on top of it
    loaded = loaded_by([name for name in light_modules() if not any(a in name for a in above)])
    assert loaded <= loaded_by(["torch"])


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("monarch/a.py", "from monarch_sciml._checks import message"),
        ("monarch/a.py", "from monarch_sciml.monarch.b import c"),
        ("monarch/deep/a.py", "from ..b import c\nfrom . import d"),
        ("layers/a.py", "from monarch_sciml import transforms"),
        ("layers/a.py", "def f():\n    from monarch_sciml.kernels import g"),
        ("data/a.py", "from monarch_sciml import __version__"),
        ("cli.py", "from monarch_sciml.training import fit\nimport torch"),
        ("_files.py", "from monarch_sciml._checks import message"),
    ],
)
def test_allowed_layers_pass(path, source):
    assert layer_violations(source, path) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("monarch/a.py", "from monarch_sciml.transforms import Transform"),
        ("models/a.py", "import monarch_sciml.data.spec"),
        ("data/a.py", "def f():\n    from monarch_sciml import models"),
        ("data/deep/a.py", "from ...models import fno"),
        ("evaluation/a.py", "if TYPE_CHECKING:\n    from monarch_sciml.training import loop"),
        ("training/a.py", "import importlib\nimportlib.import_module('monarch_sciml.cli')"),
        ("training/a.py", "from monarch_sciml.unknown import x"),
        ("_checks.py", "from monarch_sciml.monarch import multiply"),
    ],
)
def test_planted_layer_violations_are_found(path, source):
    assert len(layer_violations(source, path)) == 1


@pytest.mark.parametrize(
    ("path", "source", "count"),
    [
        ("models/a.py", "import accelerate", 1),
        ("training/a.py", "import accelerate", 0),
        ("training/a.py", "def f():\n    import jsonargparse", 1),
        ("cli.py", "import jsonargparse", 0),
        ("data/a.py", "import h5py", 1),
        ("data/a.py", "def f():\n    import h5py", 0),
        ("data/a.py", "class A:\n    import h5py", 1),
        ("data/a.py", "try:\n    from h5py import File\nexcept ImportError:\n    pass", 1),
        ("kernels/a.py", "if True:\n    import triton.language as tl", 1),
        ("evaluation/a.py", "if TYPE_CHECKING:\n    from matplotlib.figure import Figure", 0),
        ("models/a.py", "from neuralop.models import FNO", 0),
        ("training/a.py", "from neuralop.models import FNO", 1),
        ("data/a.py", "def f():\n    import experiments.table", 1),
        ("solvers/a.py", "def f():\n    import exponax", 1),
    ],
)
def test_planted_library_violations_are_found(path, source, count):
    assert len(library_violations(source, path)) == count


def test_planted_prints_and_paths_are_found():
    assert len(print_violations("def f():\n    print('x')", "data/a.py")) == 1
    assert print_violations("print('x')", "cli.py") == []
    assert print_violations("'print(x)'", "data/a.py") == []
    planted = "/" + "work/main/data"
    assert len(path_violations(f"open('{planted}')\n# {planted}", "a.py")) == 2
    assert (
        path_violations("a" + "/".join(["", "work", "x, http:", "", "h", "tmp", "x"]), "a.py") == []
    )
