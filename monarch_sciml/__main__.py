"""Run the command line with `python -m monarch_sciml`."""

from monarch_sciml.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
