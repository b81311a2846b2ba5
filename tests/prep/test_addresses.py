"""Where a bucket cannot stand yet its address is refused; it never becomes a local folder of that name."""

import subprocess
import sys
from pathlib import Path

import pytest

BUCKET = "s3://bucket/place"


NOT_YET = "s3:// addresses are not supported yet"


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("seamo-prep", "demo", BUCKET, "--only", "eurosat"), 1, NOT_YET),
        (("seamo-prep", "fetch", "eurosat", "--to", BUCKET), 1, NOT_YET),
    ],
)
def test_a_bucket_is_refused(words: tuple[str, ...], status: int, told: str, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert told in done.stderr
    assert not list(tmp_path.iterdir())
