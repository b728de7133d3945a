"""The entry point of the command ``nearfield`` and of ``python -m nearfield``.

Everything is imported behind the guard: Ctrl-C in the first moments is no traceback either.
"""

import sys


def main() -> None:
    """Run the command line; 130 for Ctrl-C at any time."""
    try:
        from nearfield.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("nearfield: stopped\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
