"""Where a bucket cannot stand yet its address is refused; it never becomes a local folder of that name."""

import subprocess
import sys
from pathlib import Path

import pytest

BUCKET = "s3://bucket/place"


@pytest.mark.parametrize(
    "words",
    [
        ("seamo-prep", "demo", BUCKET, "--only", "eurosat"),
        ("seamo-prep", "fetch", "eurosat", "--to", BUCKET),
        ("seamo-prep", "build", "eurosat", "--raw", BUCKET, "--store", "stores"),
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
