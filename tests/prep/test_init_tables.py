"""What `seamo-prep init` reads of tables and lists beside images."""

import pytest

from seamo_prep.initial.masks import guess_classes
from seamo_prep.initial.tables import read_table_of, split_lists

IMAGES = [f"img/{number}.tif" for number in range(6)]


def rows(text: str, *, name: str = "t.csv", images=IMAGES):
    return read_table_of(name, text, images)


@pytest.mark.parametrize(
    "cells",
    [
        [f"img/{n}.tif" for n in range(6)], [f"./img/{n}.tif" for n in range(6)], [f"{n}.tif" for n in range(6)],
        [f"{n}" for n in range(6)], [f"img\\{n}.tif" for n in range(6)], [f"/home/me/img/{n}.tif" for n in range(6)],
        [f"{n}.jpg" for n in range(6)],
    ],
)  # fmt: skip
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_images_are_found_however_a_table_calls_them(cells: list[str], mark: str) -> None:
    lines = [mark.join(("file", "class", "size"))] + [
        mark.join((cell, "ab"[n % 2], "3")) for n, cell in enumerate(cells)
    ]
    found = rows("\ufeff".lstrip("\ufeff") + "\r\n".join(lines))
    assert found is not None
    assert [row["image"] for row in found.rows] == IMAGES
    assert found.labels == (("a",), ("b",)) * 3
    assert found.columns == {"image": "file", "label": "class"}


def test_a_name_that_two_images_have_is_nobodys() -> None:
    found = rows("file,label\n1.tif,a\n2.tif,b\nx/1.tif,b\n", images=["x/1.tif", "y/1.tif", "x/2.tif"])
    assert found is not None
    assert [row["image"] for row in found.rows] == ["x/2.tif", "x/1.tif"]
    assert found.lost == (("1.tif", "t.csv: 2 images are called so"),)


@pytest.mark.parametrize(
    "text", ["", "a\n", "a,b\n1,2\n", "file,label\nz.tif,a\n", '"', 'a,b\n"x', "\n\n\n", ",,,\n,,,\n"]
)
def test_what_names_no_image_is_no_table(text: str) -> None:
    assert rows(text) is None


def test_names_are_preferred_to_numbers_and_splits_must_be_splits() -> None:
    text = "path,label,class,set,my_split\n" + "".join(
        f"{n}.tif,{n % 2},{'ab'[n % 2]},x,{('train', 'Test')[n % 2]}\n" for n in range(6)
    )
    found = rows(text)
    assert found is not None
    assert (found.columns["label"], found.columns["split"]) == ("class", "my_split")
    assert [row["split"] for row in found.rows] == ["train", "test"] * 3
    assert any("columns label, set are not read" in note for note in found.notes)


@pytest.mark.parametrize("cell", ["a|b", "a;b", '"a, b"', "\"['a', 'b']\""])
def test_sets_of_classes(cell: str) -> None:
    found = rows("path,labels\n" + "".join(f"{n}.tif,{cell if n % 2 else 'a'}\n" for n in range(6)))
    assert found is not None
    assert found.labels == (("a",), ("a", "b")) * 3
    assert guess_classes(found.labels).kind == "multi-label"


def test_measurements_and_names_of_single_images_are_no_classes() -> None:
    found = rows("path,label\n" + "".join(f"{n}.tif,0.{n}\n" for n in range(6)))
    assert found is not None
    assert set(found.labels) == {()}
    assert any("no classes" in note for note in found.notes)
    assert guess_classes([(f"tile {n}",) for n in range(30)]).kind == "none"


def test_numbers_as_classes_keep_their_order() -> None:
    found = guess_classes([("10",), ("9",), ("10",), ("2",), ("2",), ("9",)])
    assert found.classes == ("2", "9", "10")
    assert found.names_why


def test_of_several_lists_of_splits_the_one_that_names_most_counts() -> None:
    texts = {
        "x-train.txt": "0.jpg\n1.jpg\n2\n", "x-test.txt": "3.jpg\n4\n", "x-spatial-train.txt": "0.jpg\n",
        "x-spatial-val.txt": "1.jpg\n", "notes.txt": "0.jpg\n", "training-notes.txt": "hello",
    }  # fmt: skip
    found, notes = split_lists(texts, IMAGES)
    assert found == {f"img/{n}.tif": "train" if n < 3 else "test" for n in range(5)}
    assert notes[0] == "splits: the lists x-*.txt name 5 of the 6 images"
    assert "x-spatial-*.txt" in notes[1]
    assert split_lists({"a-train.txt": "0.jpg\n"}, IMAGES) == ({}, ())
