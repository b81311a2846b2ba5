"""The tests' own test: faults that a leaderboard must not have are put into a copy of the tree, and a test must fail.

Each mutation names one or a few places by text that stands there exactly once, and the fast tests that must see it.
Nothing is changed in the checkout. `make soak` runs this (`tests/test_mutations.py`).

    python tests/mutations.py [NAME ...]     all, or those whose names contain one of the words

Exit 1: a mutation survived, is not to be found any more, or its tests fail without it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("seamo", "preprocess", "benchmarks", "tests", "docs", "data_manifest.yaml", "pyproject.toml")
BENCH = "benchmarks/seamo_bench"
PROTOCOLS = "tests/bench/test_contract_protocols.py::test_every_protocol_keeps_the_contract"
BACKBONES = "tests/bench/test_contract_backbones.py::test_every_card_keeps_the_contract"
CACHE = "tests/bench/test_contract_cache.py"
HASHES = "tests/test_contract_hashes.py"
SHARED = "tests/bench/test_shared_results.py"
SMALL = "tests/bench/test_small_samples.py"
THERE = "tests/bench/test_run_by_address.py"
REFEREE = "tests/bench/test_results_repository.py"
BUCKETS = "tests/seamo/test_buckets.py"
COPIES = "tests/seamo/test_copy_buckets.py"
ROOTS = "tests/seamo/test_roots.py"
MIXTURE = "tests/seamo/test_mixture.py"
AT_ADDRESS = "tests/seamo/test_run_at_address.py"
SHARED_RUN = "tests/seamo/test_run_shared.py"


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one file.

    Args:
        path: Below the root.
        old: Text that stands in it exactly once.
        new: What it becomes.
    """

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """A fault, and the tests of which one must fail.

    Args:
        name: What is wrong.
        edits: How it gets into the code.
        tests: As pytest names them.
    """

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


WORKS_IN = {"linear": "linear/grid", "knn": "knn/votes", "logreg": "logreg/fits", "finetune": "finetune/training"}


def protocol(name: str, what: str, *edits: tuple[str, str], file: str = "") -> Mutation:
    """A fault of one protocol, seen by its contract."""
    path = f"{BENCH}/protocols/{file or WORKS_IN[name]}"
    changes = tuple(Edit(f"{path}.py", old, new) for old, new in edits)
    return Mutation(f"{name}: {what}", changes, (f"{PROTOCOLS}[{name}]",))


CHOICE = "tests/bench/test_protocols.py"
BOTH = "np.concatenate([trial.train, trial.test])"
MUTATIONS = (
    # Choosing on test, and other ways for test rows to reach what is tested.
    protocol(
        "linear",
        "settings chosen on test",
        ("_merits(heads, s, context, trial.val)", "_merits(heads, s, context, trial.test)"),
    ),
    protocol(
        "finetune",
        "learning rate chosen on test",
        ("seen := predict(context, model, trial.val)", "seen := predict(context, model, trial.test)"),
        ("merit(seen, context.labels[trial.val])", "merit(seen, context.labels[trial.test])"),
    ),
    protocol(
        "dense",
        "learning rate chosen on test",
        ("validate(task, candidates, trial.val)", "validate(task, candidates, trial.test)"),
        file="dense/seeds",
    ),
    protocol(
        "change",
        "learning rate chosen on test",
        ("validate(task, candidates, trial.val)", "validate(task, candidates, trial.test)"),
        file="dense/seeds",
    ),
    protocol(
        "change",
        "class weights from test masks",
        ("task.class_weights(trial.train)", "task.class_weights(trial.test)"),
        file="dense/training",
    ),
    protocol(
        "logreg",
        "fitted with the test rows too",
        ("fitted(trial.train, [C], TOLERANCE)", f"fitted({BOTH}, [C], TOLERANCE)"),
    ),
    protocol(
        "logreg",
        "penalty chosen on test",
        ("held_out = [(trial.train, trial.val)]", "held_out = [(trial.train, trial.test)]"),
    ),
    Mutation(
        "logreg: penalty chosen on the fold that is tested, too",
        (Edit(f"{BENCH}/protocols/logreg/fits.py", " and not np.isin(one.test, trial.test).any()]", "]"),),
        (f"{CHOICE}::test_logreg_chooses_its_penalty_on_training_folds_in_cross_validation",),
    ),
    protocol(
        "knn",
        "test rows are neighbours",
        ("context.features(trial.train)", f"context.features({BOTH})"),
        ("context.labels[trial.train]", f"context.labels[{BOTH}]"),
    ),
    protocol("knn", "origin is the mean of the test rows", ("moments(train.blocks())[0]", "moments(test.blocks())[0]")),
    protocol(
        "knn", "neighbours counted by the test labels", ("k=k,\n", "k=k - int(context.labels[trial.test[0]].max()),\n")
    ),
    # Validation.
    protocol(
        "finetune",
        "trained on the validation rows too",
        (
            "_batches(context, trial.train, batch_size",
            "_batches(context, np.concatenate([trial.train, trial.val]), batch_size",
        ),
    ),
    protocol(
        "linear",
        "settings chosen on training rows",
        ("_merits(heads, s, context, trial.val)", "_merits(heads, s, context, trial.train)"),
    ),
    protocol(
        "dense",
        "validation rows predicted as test",
        ("test(task, chosen.model, trial.test)", "test(task, chosen.model, trial.val)"),
        file="dense/seeds",
    ),
    # Order, and what is left behind.
    protocol(
        "finetune",
        "predictions in another order than their keys",
        ("layers=adapter.wiring.layers, shuffle=False)", "layers=adapter.wiring.layers, shuffle=True)"),
    ),
    protocol(
        "linear",
        "scores of a block reversed",
        ("heads.scores(block, seed, settings).cpu()", "heads.scores(block, seed, settings).flip(1).cpu()"),
    ),
    protocol(
        "finetune",
        "the backbone's own network is trained",
        ("network = context.backbone.make(seed)", "network = context.backbone.network"),
    ),
    # How networks meet bands that they were not made for.
    Mutation(
        "ways: a band stands in however far it is",
        (Edit("seamo/inputs/ways.py", " or distance_nm(want, nearest) <= limit_nm", " or True"),),
        ("tests/bench/test_ways.py",),
    ),
    Mutation(
        "ways: what stands in is not in the facts",
        (
            Edit(
                f"{BENCH}/facts.py",
                'sources=_sources(sensor) if wiring.missing in ("select", "rgb") else ()',
                "sources=()",
            ),
        ),
        ("tests/bench/test_ways.py",),
    ),
    Mutation(
        "ways: one rank for all",
        (
            Edit(
                f"{BENCH}/board/leaderboard.py",
                "kinds.setdefault(way_of(by_row[row][0]), [])",
                'kinds.setdefault("native", [])',
            ),
        ),
        ("tests/bench/test_ways_board.py",),
    ),
    Mutation(
        "ways: a new tokenizer is filled from the file",
        (Edit(f"{BENCH}/zoo/loading.py", "backbone=card.id, new=new", "backbone=card.id"),),
        ("tests/bench/test_ways_networks.py",),
    ),
    # The cache of features.
    Mutation(
        "cache: key without the adapter",
        (
            Edit(
                f"{BENCH}/features/cache.py",
                '"adapter": adapter_facts(wiring)',
                '"adapter": {} and adapter_facts(wiring)',
            ),
        ),
        (CACHE,),
    ),
    Mutation(
        "cache: key without the backbone",
        (Edit(f"{BENCH}/features/cache.py", '        "backbone": backbone.model_dump(mode="json"),\n', ""),),
        (CACHE,),
    ),
    Mutation(
        "cache: key without the store",
        (Edit(f"{BENCH}/features/cache.py", '        "pixels": pixels,\n', ""),),
        (CACHE,),
    ),
    Mutation(
        "facts: adapter without the size",  # which the words have, too
        (
            Edit(f"{BENCH}/facts.py", "size=wiring.size or (0, 0)", "size=(0, 0)"),
            Edit("seamo/inputs/wiring.py", 'f"bilinear antialiased to {self.size[0]} x {self.size[1]}"', '"bilinear"'),
            Edit("seamo/inputs/wiring.py", " own grid to {self.size[0]} x {self.size[1]}", " own grid"),
        ),
        (CACHE,),
    ),
    Mutation(
        "facts: adapter without the missing-band policy",
        (Edit(f"{BENCH}/facts.py", "missing=wiring.missing", 'missing="fail"'),),
        (CACHE,),
    ),
    Mutation(
        "facts: adapter without the made-up bands",
        (Edit(f"{BENCH}/facts.py", "if channel.filled)", "if not channel)"),),
        (CACHE,),
    ),
    Mutation(
        "facts: no date in what was done",
        (Edit("seamo/inputs/wiring.py", 'dates = named if several else ""', 'dates = ""'),),
        (CACHE,),
    ),
    Mutation(
        "card: digest without the normalisation",
        (
            Edit(
                f"{BENCH}/zoo/catalogue.py",
                "    plain = asdict(card)\n",
                "    plain = asdict(card)\n    for spec in plain['inputs']:\n        del spec['steps']\n",
            ),
        ),
        (CACHE,),
    ),
    Mutation(
        "card: digest without the fill",
        (
            Edit(
                f"{BENCH}/zoo/catalogue.py",
                "    plain = asdict(card)\n",
                "    plain = asdict(card)\n    for spec in plain['inputs']:\n        del spec['fill']\n",
            ),
        ),
        (CACHE,),
    ),
    # Published hashes.
    Mutation(
        "hashes: md5 of weights ignored",
        (
            Edit(
                f"{BENCH}/zoo/catalogue.py", 'elif weights.md5 and _hash_of(path, "md5") != weights.md5:', "elif False:"
            ),
        ),
        (HASHES,),
    ),
    Mutation(
        "hashes: size of weights ignored",
        (Edit(f"{BENCH}/zoo/catalogue.py", "if weights.bytes is not None and size != weights.bytes:", "if False:"),),
        (HASHES,),
    ),
    Mutation(
        "hashes: first digits of a sha256 ignored",
        (
            Edit(
                f"{BENCH}/zoo/catalogue.py",
                "if weights.sha256 and not digest",
                "if len(weights.sha256) == 64 and not digest",
            ),
        ),
        (HASHES,),
    ),
    Mutation(
        "hashes: md5 of an archive ignored",
        (Edit("seamo/download.py", '("md5", file.md5)', '("md5", None)'),),
        (HASHES,),
    ),
    Mutation(
        "hashes: sha256 of an archive ignored",
        (Edit("seamo/download.py", '("sha256", file.sha256)', '("sha256", None)'),),
        (HASHES,),
    ),
    # Statistics.
    Mutation(
        "intervals: small-sample factor left out",
        (Edit(f"{BENCH}/scores/replicates.py", "return units / (units - 1) / (count - 1)", "return 1 / (count - 1)"),),
        (SMALL,),
    ),
    Mutation(
        "intervals: normal instead of Student's t",
        (
            Edit(
                f"{BENCH}/scores/intervals.py",
                "t_quantile((1 + level) / 2, known.df)",
                "t_quantile((1 + level) / 2, math.inf)",
            ),
        ),
        (SMALL,),
    ),
    Mutation(
        "intervals: the runs' own degrees of freedom left out",
        (Edit(f"{BENCH}/scores/intervals.py", "    if runs > 0:\n        known =", "    if False:\n        known ="),),
        (SMALL,),
    ),
    # Several runs on one folder of results.
    Mutation(
        "records: a second one replaces the first",
        (Edit(f"{BENCH}/records/put.py", "if first is None:", "if first is None or predictions is not None:"),),
        (f"{SHARED}::test_other_predictions_are_kept_beside_the_first_and_said",),
    ),
    Mutation(
        "claims: nobody looks at them",
        (Edit(f"{BENCH}/runs/claims.py", 'return "held"', 'return "free"'),),
        (f"{SHARED}::test_a_run_takes_other_groups_first_and_waits_for_what_another_does",),
    ),
    # Several runs at one address.
    Mutation(
        "results at an address: a second record replaces the first",
        (
            Edit(
                f"{BENCH}/records/there.py",
                "return there if says_the_same or _ended_well(files, found) else data",
                "return data",
            ),
        ),
        (f"{THERE}::test_a_record_that_comes_while_one_is_written_stays",),
    ),
    Mutation(
        "results at an address: predictions are looked for by nobody",
        (
            Edit(
                f"{BENCH}/records/there.py",
                "any(map(files.exists, _predictions_of(record)))",
                "any(_predictions_of(record))",
            ),
        ),
        (f"{THERE}::test_other_predictions_are_kept_below_reproductions",),
    ),
    Mutation(
        "results at an address: the cell is blamed for a server that is away",
        (Edit(f"{BENCH}/runs/run.py", "            except ResultsError:\n                raise\n", ""),),
        (
            "tests/bench/test_run_by_address_faults.py::test_an_address_that_is_lost_is_one_message_and_no_record_says_failed",
        ),
    ),
    Mutation(
        "results at an address: claims of others are taken",
        (Edit(f"{BENCH}/runs/claims_there.py", 'return bool(said["id"] != who) and age < OLD_S', "return age < 0"),),
        (f"{THERE}::test_two_runs_at_one_address_do_every_cell_once",),
    ),
    Mutation(
        "clusters: workers of another version are taken",
        (Edit(f"{BENCH}/runs/cluster.py", "if group.version != __version__:", "if not group.version:"),),
        ("tests/bench/test_cluster.py::test_a_worker_that_sees_other_things_is_one_message",),
    ),
    # Backbones and archives.
    Mutation(
        "backbones: loading draws from torch's own generator",
        (Edit(f"{BENCH}/zoo/loading.py", "with torch.random.fork_rng(devices=[]):", "if True:"),),
        (f"{BACKBONES}[seamo-random]",),
    ),
    Mutation(
        "backbones: features follow the batch",
        (
            Edit(
                f"{BENCH}/networks/presto.py",
                "Features(plane.mean((2, 3))",
                "Features((plane - plane.mean(0)).mean((2, 3))",
            ),
        ),
        (f"{BACKBONES}[presto]",),
    ),
    Mutation(
        "archives: labels by position, not by row",
        (
            Edit(
                "preprocess/seamo_prep/archives/eurosat.py",
                'label=int(row["label"]))',
                'label=int(row["label"]) * (row["key"] == rows["key"].iloc[0]))',
            ),
        ),
        ("tests/prep/test_contract_archives.py::test_every_archive_keeps_the_contract[eurosat]",),
    ),
    # The referee of a results repository.
    Mutation(
        "referee: labels are not compared",
        (Edit(f"{BENCH}/runs/register.py", "elif theirs.labels != test.labels:", "elif False:"),),
        (REFEREE,),
    ),
    Mutation(
        "referee: what comes along is trusted",
        (Edit(f"{BENCH}/runs/repository.py", "known = before is None or name in before", "known = True"),),
        (REFEREE,),
    ),
    Mutation(
        "referee: predictions are unpacked at once",
        (Edit(f"{BENCH}/runs/repository.py", "return (told,) if promised > most else ()", "return ()"),),
        (REFEREE,),
    ),
    Mutation(
        "referee: one person reproduces their own",
        (Edit(f"{BENCH}/runs/repository.py", "or who == submitter_of(record):", "or False:"),),
        (REFEREE,),
    ),
    Mutation(
        "referee: records may be removed",
        (Edit(f"{BENCH}/runs/changes.py", "if file_sha256(old) in named:", "if True:"),),
        (REFEREE,),
    ),
    # What a server says is believed.
    Mutation(
        "buckets: a short answer is a short file",
        (Edit("seamo/files/bucket.py", 'if len(data) == min(length, max(0, meta["size"] - offset)):', "if data:"),),
        (f"{BUCKETS}::test_a_short_answer_is_no_short_file",),
    ),
    Mutation(
        "buckets: a conflict is one's own file",
        (
            Edit(
                "seamo/files/bucket.py",
                "                if there is not None:\n                    return None if there == data else there",
                "                if there is not None:\n                    return None",
            ),
        ),
        (f"{BUCKETS}::test_what_is_put_is_there_whatever_the_answer_says",),
    ),
    # What a root keeps.
    Mutation(
        "roots: what others entered meanwhile is forgotten",
        (Edit("seamo/store/keeping.py", "if name not in gone} | came", "if name not in gone}"),),
        (f"{ROOTS}::test_what_is_entered_or_removed_while_it_is_rebuilt_stays_so",),
    ),
    Mutation(
        "roots: latest keeps no store",
        (Edit("seamo/store/roots.py", "if self.latest.get(dataset) == build else", "if dataset == build else"),),
        (f"{ROOTS}::test_only_what_nothing_refers_to_is_removed_and_by_its_whole_name",),
    ),
    Mutation(
        "copies: what was put is not read back",
        (
            Edit(
                "seamo/store/transfer.py",
                "all(_sealed(target.stream(name)) != sealed for _ in range(2))",
                "not target.exists(name)",
            ),
        ),
        (f"{COPIES}::test_bytes_that_lie_otherwise_than_they_were_put_are_noticed",),
    ),
    Mutation(
        "stores: a chunk is not held to its checksum",
        (Edit("seamo/store/reader.py", "elif checksum != place.crc32c:", "elif count < 0:"),),
        (f"{BUCKETS}::test_a_fault_that_passes_costs_a_second_request",),
    ),
    Mutation(
        "submit: the server is not tried",
        (Edit(f"{BENCH}/records/fetched.py", "    files.probe()\n\n\ndef check_results", "\n\ndef check_results"),),
        ("tests/bench/test_results_by_address.py",),
    ),
    Mutation(
        "addresses are shown with their queries",
        (Edit("seamo/addresses.py", 'text = re.sub(r"[?#].*", "", str(place), flags=re.DOTALL)', "text = str(place)"),),
        ("tests/test_team.py::test_the_day_goes_as_the_page_says_and_leaves_no_secret",),
    ),
    Mutation(
        "mixture: every epoch begins each store anew",
        (Edit("seamo/store/plan.py", "start, stop = epoch * quota, (epoch + 1) * quota", "start, stop = 0, quota"),),
        (f"{MIXTURE}::test_no_sample_comes_again_before_the_others_of_its_store",),
    ),
    Mutation(
        "mixture: a sample that comes again is cropped as before",
        (Edit("seamo/pretrain/inputs.py", "rows + (turns << _TURN)", "rows"),),
        (f"{MIXTURE}::test_a_sample_that_comes_twice_in_an_epoch_is_cropped_and_masked_anew",),
    ),
    Mutation(
        "mixture: a large store counts by its pixels whatever its weight",
        (Edit("seamo/inputs/statistics.py", 'entry["count"] / samples', 'float(entry["count"])'),),
        (f"{MIXTURE}::test_the_numbers_are_those_of_all_pixels_that_are_drawn",),
    ),
    Mutation(
        "run in a bucket: a checkpoint is sealed before its files are there",
        (
            Edit(
                "seamo/pretrain/remote.py",
                "        for one, sealed in facts.files.items():\n            put_file(",
                '        files.put_once(f"{below}/{FACTS}", (checkpoint / FACTS).read_bytes())\n'
                "        for one, sealed in facts.files.items():\n            put_file(",
            ),
        ),
        (f"{AT_ADDRESS}::test_killed_at_any_write_it_goes_on_from_an_empty_disk",),
    ),
    Mutation(
        "run in a bucket: another process's bytes count as one's own",
        (
            Edit(
                "seamo/pretrain/objects.py",
                "if files.put_once(one, data) is not None:",
                "if files.put_once(one, data) == 0:",
            ),
        ),
        (f"{SHARED_RUN}::test_two_that_train_all_the_same_are_told_and_nothing_is_mixed",),
    ),
    Mutation(
        "run in a bucket: nobody looks whether who claimed it lives",
        (Edit("seamo/pretrain/claim.py", 'if first and first["id"] != known and', "if first is None and"),),
        (f"{SHARED_RUN}::test_a_second_process_is_refused_while_the_first_lives",),
    ),
    Mutation(
        "run in a bucket: what could not be put is forgotten",
        (Edit("seamo/pretrain/remote.py", "return not found or found[-1].name in self._there", "return True"),),
        (f"{AT_ADDRESS}::test_what_could_not_be_put_stays_here_and_is_put_by_the_next_try",),
    ),
)


def mutated(text: str, edit: Edit) -> str:
    """The text with one edit.

    Raises:
        ValueError: If what is to be changed does not stand there exactly once.
    """
    count = text.count(edit.old)
    if count != 1:
        raise ValueError(f"{edit.path}: {edit.old!r} stands there {count} times; mend the mutation")
    return text.replace(edit.old, edit.new)


def check_found(root: Path, mutations: Sequence[Mutation] = MUTATIONS) -> list[str]:
    """Mutations whose text is not to be found exactly once in a tree, with the reason."""
    problems = []
    for mutation in mutations:
        texts = {edit.path: (root / edit.path).read_text("utf-8") for edit in mutation.edits}
        try:
            for edit in mutation.edits:
                texts[edit.path] = mutated(texts[edit.path], edit)
        except ValueError as error:
            problems.append(f"{mutation.name}: {error}")
    return problems


def copy_of(root: Path, folder: Path) -> Path:
    """A copy of the tree to break."""
    target = folder / "tree"
    target.mkdir()
    unneeded = shutil.ignore_patterns("__pycache__", ".*", "*.pyc")
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, target / name, ignore=unneeded)
        else:
            shutil.copy(root / name, target / name)
    return target


def run_tests(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Exit status of pytest in a tree, and the first test that failed."""
    places = os.pathsep.join(str(tree / part) for part in ("", "preprocess", "benchmarks"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", "-p", "no:cacheprovider", *tests],
        cwd=tree, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    failed = re.search(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    return done.returncode, failed.group(1) if failed else done.stdout[-2000:]


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(words: Sequence[str]) -> int:
    """Run mutations and print a line for each; see the module."""
    chosen = [one for one in MUTATIONS if not words or any(word in one.name for word in words)]
    problems = check_found(ROOT, chosen)
    if problems or not chosen:
        say("\n".join(problems or ["no such mutation"]))
        return 1
    with tempfile.TemporaryDirectory(prefix="seamo-mutations-") as folder:
        tree = copy_of(ROOT, Path(folder))
        status, first = run_tests(tree, sorted({test for one in chosen for test in one.tests}))
        if status:
            say(f"the tests fail without any mutation: {first}")
            return 1
        survived = 0
        for mutation in chosen:
            begun = time.monotonic()
            whole = {edit.path: (tree / edit.path).read_text("utf-8") for edit in mutation.edits}
            for edit in mutation.edits:
                (tree / edit.path).write_text(mutated((tree / edit.path).read_text("utf-8"), edit), "utf-8")
            status, first = run_tests(tree, mutation.tests)
            for path, text in whole.items():
                (tree / path).write_text(text, "utf-8")
            # Any status but "a test failed" says that the mutation broke more than it should have.
            verdict = {0: "SURVIVED", 1: "killed"}.get(status, f"BROKEN ({status})")
            survived += status != 1
            say(f"{verdict}  {mutation.name}  ({time.monotonic() - begun:.0f} s)  {first if status else ''}")
        say(f"{len(chosen) - survived} of {len(chosen)} mutations killed")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
