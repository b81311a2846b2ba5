"""Every mutation of `tests/mutations.py` can be applied (fast), and is killed by the tests that it names (soak)."""

import pytest

from tests.conftest import ROOT
from tests.mutants.edits import Edit
from tests.mutations import MUTATIONS, check_found, main, mutated


def test_what_mutations_change_is_to_be_found() -> None:
    assert check_found(ROOT) == []
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) > 20


def test_a_text_that_is_not_there_once_is_refused() -> None:
    for text in ("", "a a"):
        with pytest.raises(ValueError, match=rf"x\.py: 'a' stands there {text.count('a')} times"):
            mutated(text, Edit("x.py", "a", "b"))
    assert mutated("ba", Edit("x.py", "a", "b")) == "bb"


@pytest.mark.soak
def test_every_mutation_is_killed() -> None:
    assert main([]) == 0
