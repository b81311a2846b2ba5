"""Where a run begins: an empty folder, one that was killed while it began, never one that holds something else."""

from pathlib import Path

import pytest

from seamo.errors import UsageError
from seamo.pretrain.recipe import load_recipe
from seamo.pretrain.run import RECIPE, RUN, TrainingStoreFacts, begin_run

FACTS = TrainingStoreFacts(id="toy", title="Toy", content="c" * 64, split="train", samples=3)


@pytest.mark.parametrize("left", [(), (".lock",), (".lock", f".{RECIPE}.123.part"), (RECIPE, f".{RUN}.123.part")])
@pytest.mark.parametrize("resume", [True, False])
def test_what_a_kill_left_does_not_stop_the_run(tmp_path: Path, left: tuple[str, ...], resume: bool) -> None:
    for name in left:
        (tmp_path / name).write_text("half")
    begin_run(tmp_path, load_recipe("seamo-tiny"), FACTS, resume=resume)
    assert (tmp_path / RUN).is_file()
    assert "half" not in (tmp_path / RECIPE).read_text()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="is not empty and holds no run"):
        begin_run(tmp_path, load_recipe("seamo-tiny"), FACTS, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
