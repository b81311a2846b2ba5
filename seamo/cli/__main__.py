"""`python -m seamo.cli`, which torchrun needs."""

from seamo.cli import main

if __name__ == "__main__":
    main()
