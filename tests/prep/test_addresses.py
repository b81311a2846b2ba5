"""The address of a bucket is refused by every command; it never becomes a local folder of that name."""

import subprocess
import sys
from pathlib import Path

import pytest

from seamo.addresses import local_path
from seamo.errors import StoreError

BUCKET = "s3://bucket/place"


@pytest.mark.parametrize(
    "words",
    [
        ("seamo-prep", "ls", BUCKET),
        ("seamo-prep", "verify", BUCKET),
        ("seamo-prep", "demo", BUCKET, "--only", "eurosat"),
        ("seamo-prep", "fetch", "eurosat", "--to", BUCKET),
        ("seamo-prep", "build", "eurosat", "--raw", ".", "--store", BUCKET),
        ("seamo-prep", "build", "eurosat", "--raw", BUCKET, "--store", "stores"),
        ("seamo", "pretrain", "seamo-tiny", "--store", BUCKET, "--out", "run"),
        ("seamo-bench", "plan", "demo", "--stores", BUCKET, "--results", "results"),
        ("seamo-bench", "run", "demo", "--stores", "stores", "--results", BUCKET),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_bucket_is_refused(words: tuple[str, ...], tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "s3:// addresses are not supported yet" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("gs://bucket/place", r"^gs://bucket/place: gs:// addresses are not supported yet"),
        ("abfss://part@account/place", "abfss:// addresses are not supported yet"),
        (Path("az://bucket/place"), "az:// addresses are not supported yet"),  # a Path swallows a slash
        ("s4://bucket/place", "s4:// is no kind of address that holds stores. Name a local path"),
        ("ftp://host/place", "ftp:// is no kind of address"),
    ],
)
def test_a_slip_of_the_pen_is_told_from_what_is_to_come(address: str | Path, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        local_path(address)
