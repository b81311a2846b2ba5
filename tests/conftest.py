"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _shelf(variable: str, default: str) -> Path:
    path = Path(os.environ.get(variable, ROOT.parent / "shared" / default))
    if not path.is_dir():
        pytest.skip(f"{path} is not there (set {variable})")
    return path


@pytest.fixture(scope="session")
def samples() -> Path:
    """Real Sentinel-1/2 samples in the published layouts (`SEAMO_SAMPLES`)."""
    return _shelf("SEAMO_SAMPLES", "data")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Reference outputs of official model codes (`SEAMO_GOLDEN`)."""
    return _shelf("SEAMO_GOLDEN", "golden")
