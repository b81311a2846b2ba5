"""`python -m seamo_prep.cli`."""

from seamo_prep.cli import main

if __name__ == "__main__":
    main()
