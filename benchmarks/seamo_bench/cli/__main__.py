"""`python -m seamo_bench.cli`."""

from seamo_bench.cli import main

if __name__ == "__main__":
    main()
