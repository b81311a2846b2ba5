"""Which records can be applied; kills, full disks, what is kept, and the command line."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from seamo.errors import CheckpointError, ProtocolError, StoreError, UsageError
from seamo.files import open_files
from seamo.store.reader import open_store
from seamo.use.parts import Parts
from seamo_bench.cli import main
from seamo_bench.predict import applied
from seamo_bench.predict.images import images_of
from seamo_bench.predict.predict import Setting, predict
from seamo_bench.protocols import find_protocol
from seamo_bench.records import heads as kept
from seamo_bench.records.examine import verify
from seamo_bench.records.layout import name_there
from seamo_bench.records.record import load_predictions, write_record
from tests.bench.trained_heads import FOUR, apply, in_a_row, path_of, read, run, whole_scene, write_tiff

torch.set_num_threads(1)


def test_records_that_cannot_be_applied_say_why(single, tmp_path):
    stores, results, records = single
    image = write_tiff(tmp_path / "row.tif", in_a_row(open_store(stores / "toy"), ["s0000"], "s2_10m"), FOUR)
    out = tmp_path / "out.tif"
    with pytest.raises(ProtocolError, match="no trained head is kept beside this record of knn"):
        apply(results, records["knn", "toy"], [image], out)
    with pytest.raises(ProtocolError, match="is impossible: no store of eurosat"):
        apply(results, records["knn", "eurosat"], [image], out)
    with pytest.raises(UsageError, match="there is no such record"):
        predict(results / "nothing.json", images_of([image], units=("dn",)), out, setting=Setting())
    assert not out.exists()


def test_a_protocol_says_itself_how_its_head_is_applied(single, tmp_path, monkeypatch):
    stores, results, records = single
    image = write_tiff(tmp_path / "row.tif", in_a_row(open_store(stores / "toy"), ["s0000"], "s2_10m"), FOUR)
    record, seen = records["logreg", "toy"], []

    def always_the_second(trained):
        seen.append((trained.num_classes, trained.where, sorted(trained.state), len(trained.blank)))
        return lambda dates: torch.eye(trained.num_classes)[1].expand(len(dates[0]["s2"]), -1) * 50

    own = replace(find_protocol("logreg"), apply=always_the_second)
    monkeypatch.setattr(applied, "find_protocol", lambda _: own)
    apply(results, record, [image], tmp_path / "out.tif")
    assert seen == [(len(record.facts.task.classes), record.key, ["bias", "weight"], 1)]
    assert (read(tmp_path / "out.tif") == 1).all()
    # A protocol on features that says nothing and trained a matrix: the matrix is applied, as logreg's own way does.
    monkeypatch.setattr(applied, "find_protocol", lambda _: replace(own, apply=None))
    apply(results, record, [image], tmp_path / "matrix.tif", probabilities=True)
    monkeypatch.undo()
    apply(results, record, [image], tmp_path / "own.tif", probabilities=True)
    np.testing.assert_array_equal(read(tmp_path / "matrix.tif"), read(tmp_path / "own.tif"))
    monkeypatch.setattr(applied, "find_protocol", lambda _: replace(own, apply=None, needs="network"))
    monkeypatch.setattr(applied, "load_network", None)  # it is refused before anything is loaded
    with pytest.raises(ProtocolError, match="what logreg trains cannot be applied to new images"):
        apply(results, record, [image], tmp_path / "none.tif")


def test_another_backbone_or_head_than_the_record_s_is_refused(single, tmp_path):
    stores, results, records = single
    record = records["linear", "toy"]
    image = write_tiff(tmp_path / "row.tif", in_a_row(open_store(stores / "toy"), ["s0000"], "s2_10m"), FOUR)
    head = (results / record.head.name).read_bytes()

    def changed(head_bytes=head, **backbone):
        folder = tmp_path / f"changed-{len(list(tmp_path.iterdir()))}"
        facts = record.facts.model_copy(update={"backbone": record.facts.backbone.model_copy(update=backbone)})
        again = write_record(
            folder, facts, about=record.about, predictions=load_predictions(record, results), head=record.head
        )
        if head_bytes:
            (folder / record.head.name).write_bytes(head_bytes)
        return folder, again

    out = tmp_path / "out.tif"
    with pytest.raises(CheckpointError, match="is not the backbone of the record"):
        apply(*changed(card="0" * 64), [image], out)
    with pytest.raises(CheckpointError, match="its weights have the digest of nothing, the record's abababababab"):
        apply(*changed(weights="ab" * 32), [image], out)
    with pytest.raises(UsageError, match=r"the backbone 'my-run' of the record is not known here. .*--backbone RUN"):
        apply(*changed(id="my-run"), [image], out)
    with pytest.raises(ProtocolError, match="cannot be read"):
        apply(*changed(head_bytes=b""), [image], out)
    folder, again = changed(head_bytes=head[:-4] + b"\0\0\0\0")
    with pytest.raises(ProtocolError, match="its sha256 differs"):
        apply(folder, again, [image], out)
    assert verify(again, folder) == ("the trained head beside it is not the one it names (its sha256 differs)",)
    (folder / record.head.name).unlink()
    assert verify(again, folder) == ()  # a published record need not carry its head


def test_what_is_heavy_is_kept_where_it_is_asked_for(single, tmp_path, monkeypatch):
    stores, _, records = single
    suite = "id: s\nrows: [{store: toy, protocol: linear, params: {steps: 2}, seeds: 1}]"
    monkeypatch.setattr(kept, "SMALL_BYTES", 100)
    results, light = run(tmp_path / "light", suite, stores, backbones=("image-statistics",))
    assert light["linear", "toy"].head is None
    assert not list(results.glob("*.safetensors"))
    results, heavy = run(tmp_path / "heavy", suite, stores, backbones=("image-statistics",), keep_models=True)
    assert (results / heavy["linear", "toy"].head.name).stat().st_size > 100
    assert heavy["linear", "toy"].key == light["linear", "toy"].key
    assert records["linear", "toy"].head.tile == (8, 8)


def test_a_kill_leaves_no_map_and_the_next_call_goes_on(scenes, tmp_path, monkeypatch):
    store, results, records = scenes
    record = records["dense", "scenes"]
    image = write_tiff(tmp_path / "scene.tif", whole_scene(store, "scene3"), FOUR)
    apply(results, record, [image], tmp_path / "whole.tif")
    save, saved = Parts.save, []

    def stops(parts, k, array):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(k)
        save(parts, k, array)

    out = tmp_path / "out.tif"
    monkeypatch.setattr(Parts, "save", stops)
    with pytest.raises(KeyboardInterrupt):
        apply(results, record, [image], out)
    assert not out.exists()
    monkeypatch.setattr(Parts, "save", lambda parts, k, array: (saved.append(k), save(parts, k, array))[1])
    apply(results, record, [image], out)
    assert saved == [0, 1, 2]
    np.testing.assert_array_equal(read(out), read(tmp_path / "whole.tif"))
    assert not list(tmp_path.glob(".*parts"))
    with pytest.raises(UsageError, match="exists already"):
        apply(results, record, [image], out)


def test_a_full_disk_is_one_message(scenes, tmp_path, monkeypatch):
    store, results, records = scenes
    image = write_tiff(tmp_path / "scene.tif", whole_scene(store, "scene3"), FOUR)

    def full(path, _):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("seamo.use.parts.write_atomically", full)
    with pytest.raises(StoreError, match=r"cannot be written .*Make room and give the same command again"):
        apply(results, records["dense", "scenes"], [image], tmp_path / "out.tif")


def test_from_the_command_line(single, bucket, tmp_path, monkeypatch, capsys):
    stores, results, records = single
    record = records["linear", "toy"]
    stored = load_predictions(record, results)
    pixels = in_a_row(open_store(stores / "toy"), stored.keys, "s2_10m")
    image = write_tiff(tmp_path / "row.tif", pixels, ("", "", "", ""))

    def call(*more, there=""):
        command = ["seamo-bench", "predict", there or path_of(results, record), image, "--unit", "dn", *more]
        monkeypatch.setattr(sys, "argv", [str(one) for one in command])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code, capsys.readouterr()

    code, done = call("-o", tmp_path / "none.tif")
    assert code == 1
    assert "names none of its bands" in done.err
    code, done = call("-o", tmp_path / "out.tif", "--bands", ",".join(FOUR))
    assert (code, done.out) == (0, f"{tmp_path / 'out.tif'}\n")
    assert "image-statistics, linear on toy (synthetic): s2 B02 B03 B04 B08 (dn)" in done.err
    assert read(tmp_path / "out.tif")[0, 0].tolist() == stored.scores.argmax(axis=1).tolist()
    code, done = call("-o", tmp_path / "again.tif", "--bands", ",".join(FOUR), "--json")
    (row,) = json.loads(done.out)
    assert (row["id"], row["width"]) == (str(tmp_path / "again.tif"), len(stored.keys))
    assert Path(row["id"]).is_file()
    head, key = record.head, f"{record.key}.json"
    for name, there in ((key, key), (head.name, name_there(head.name, head.sha256))):
        open_files(bucket).put_once(there, (results / name).read_bytes())
    code, done = call("-o", tmp_path / "there.tif", "--bands", ",".join(FOUR), there=f"{bucket}/{key}")
    assert (code, done.out) == (0, f"{tmp_path / 'there.tif'}\n")
    assert (tmp_path / "there.tif").read_bytes() == (tmp_path / "out.tif").read_bytes()
