"""Windows and macOS: what only POSIX has is called where it exists, and commands run without it.

The names come from Python's documentation ("Availability: Unix", or "not Windows").
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "monarch_sciml"
OS_WORDS = """
    chown chroot ctermid eventfd fchdir fchown fdatasync fork forkpty fpathconf fstatvfs
    get_blocking getegid geteuid getgid getgrouplist getgroups getloadavg getpgid getpgrp
    getpriority getresgid getresuid getsid getuid initgroups killpg lchown lockf login_tty major
    makedev memfd_create minor mkfifo mknod nice openpty pathconf pidfd_open pipe2 posix_fadvise
    posix_fallocate posix_spawn pread preadv pwrite pwritev register_at_fork sched_getaffinity
    sched_setaffinity sched_yield sendfile set_blocking setegid seteuid setgid setgroups setpgid
    setpriority setregid setreuid setsid setuid statvfs sync sysconf tcgetpgrp tcsetpgrp ttyname
    uname unshare wait wait3 wait4 waitid WCOREDUMP WEXITSTATUS WIFEXITED WIFSIGNALED WIFSTOPPED
    WNOHANG WSTOPSIG WTERMSIG writev getxattr listxattr setxattr O_CLOEXEC O_DIRECT O_DIRECTORY
    O_DSYNC O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC
    """
SIGNAL_WORDS = """
    SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGTSTP
    SIGTTIN SIGTTOU SIGUSR1 SIGUSR2 SIGWINCH SIGXCPU SIGXFSZ alarm getitimer pause pthread_kill
    pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait
    """
MODULES_WORDS = "fcntl grp posix pty pwd resource syslog termios tty"
OS, SIGNAL, MODULES = (set(text.split()) for text in (OS_WORDS, SIGNAL_WORDS, MODULES_WORDS))

GUARDED = {
    # the helper process that files are looked through in, only where processes can be forked
    "_inspection.py": {"fork", "SIGKILL", "WIFSIGNALED", "WTERMSIG", "resource"},
    "_signals.py": {"register_at_fork"},
    "data/fields/writer.py": {"posix_fallocate"},
    "evaluation/environment.py": {"sched_getaffinity"},
}
"""What a file uses of POSIX; each use stands behind a look whether it is there."""


def posix_only(source):
    """Return the names in a source that only POSIX has."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            known = {"os": OS, "signal": SIGNAL}.get(node.value.id, set())
            found |= {node.attr} & known
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            found |= names & {"os": OS, "signal": SIGNAL}.get(node.module or "", set())
            found |= {node.module} & MODULES
    return found


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import os\nos.fork()\nos.replace(a, b)", {"fork"}),
        ("from signal import SIGHUP, SIGTERM", {"SIGHUP"}),
        ("import resource, sys", {"resource"}),
        ("from fcntl import flock", {"fcntl"}),
    ],
)
def test_the_search_finds(source, names):
    assert posix_only(source) == names


def test_only_the_guarded_uses_are_there():
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in PACKAGE.rglob("*.py")
        if (names := posix_only(path.read_text(encoding="utf-8")))
    }
    assert found == GUARDED


WITHOUT = """
import os, pkgutil, signal, sys, types
import matplotlib.pyplot, skfem
import monarch_sciml

def import_all():
    for found in pkgutil.walk_packages(monarch_sciml.__path__, "monarch_sciml."):
        if not found.name.endswith("__main__") and ".gpu." not in found.name:
            __import__(found.name)

import_all()  # with the libraries, whose own doing is not looked at here
stripped = {}
for module, names in ((os, {OS}), (signal, {SIGNAL})):
    without = types.ModuleType(module.__name__)
    vars(without).update({k: v for k, v in vars(module).items() if k not in names})
    stripped[module.__name__] = without
for name in [name for name in sys.modules if name.split(".")[0] == "monarch_sciml"]:
    del sys.modules[name]
missing = dict.fromkeys({MODULES})
kept = {name: sys.modules.get(name) for name in (*stripped, *missing)}
sys.modules.update(stripped | missing)
import monarch_sciml
import_all()
for name, module in kept.items():
    del sys.modules[name]
    if module is not None:
        sys.modules[name] = module
from monarch_sciml import _inspection, _signals
from monarch_sciml.cli import main

assert not hasattr(_signals.os, "fork") and not hasattr(_signals.signal, "SIGHUP")
assert not _inspection._CAN_FORK
_signals.install()
for words in {COMMANDS}:
    status = main(words)
    assert status == 0, (words, status)
"""


def test_commands_run_where_posix_is_missing(tmp_path):
    """Generate, look at, train, evaluate and reconstruct with every POSIX-only name removed."""
    (tmp_path / "train.yaml").write_text(
        """
data:
  class_path: monarch_sciml.data.PairModule
  init_args: {path: darcy.h5, n_train: 2, n_validation: 1, n_test: 1}
network:
  class_path: monarch_sciml.models.FNO
  init_args: {n_modes: [4, 4], hidden_channels: 4, n_layers: 1, transform: monarch}
objective: {class_path: monarch_sciml.training.RolloutObjective}
budget: {epochs: 1, batch_size: 2}
"""
    )
    generate = "generate darcy --output darcy.h5 --n_samples 4 --resolution 9 --grid 9"
    train = "train --config train.yaml --output run --options.progress false"
    lines = [generate, "info darcy.h5", train, "evaluate run --progress false"]
    text = WITHOUT
    for name, value in (("OS", OS), ("SIGNAL", SIGNAL), ("MODULES", MODULES)):
        text = text.replace("{" + name + "}", repr(sorted(value)))
    text = text.replace("{COMMANDS}", repr([line.split() for line in lines]))
    run = subprocess.run(
        [sys.executable, "-c", text],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert (tmp_path / "run" / "report.html").is_file()
