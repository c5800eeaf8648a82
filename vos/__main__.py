"""Run the command line as ``python -m vos``."""

from vos.cli import main

if __name__ == "__main__":
    main()
