"""``python -m lab.cli``: the same as ``lab``."""

from lab.cli.main import main

if __name__ == "__main__":
    main()
