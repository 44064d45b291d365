"""Run the command line with `python -m monarch_sciml`."""

import sys

from monarch_sciml import _signals


def main() -> int:
    """Run one command, with one line for Ctrl-C or a stopped job even during the imports."""
    _signals.install()
    try:
        with _signals.deferred():  # an import is not to be torn apart
            from monarch_sciml.cli import main as command
        _signals.check_stopped()
        return command()
    except BaseException:
        if not _signals.received():
            raise
        sys.stderr.write(_signals.line(_signals.received()))
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
