# seamo with its three programs on PATH, for a user without rights: docs/docker.md says how to build and run it.

FROM python:3.11-slim AS wheel
# The compiler is for the loops in C; it stays in this stage.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE data_manifest.yaml ./
COPY tools/native.py tools/native.py
COPY seamo seamo
COPY preprocess preprocess
COPY benchmarks benchmarks
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
# What is installed beside the base: extras of pyproject.toml, separated by commas.
ARG EXTRAS=prep,torch
COPY constraints.txt /tmp/constraints.txt
COPY --from=wheel /wheels /wheels
RUN python -m pip install --no-cache-dir --constraint /tmp/constraints.txt "$(echo /wheels/seamo-*.whl)[${EXTRAS}]" && rm -r /wheels
RUN useradd --create-home --uid 1000 seamo && install --directory --owner seamo /work
USER seamo
WORKDIR /work
CMD ["seamo", "--help"]
