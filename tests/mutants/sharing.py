"""Faults of what several share: results, repositories, buckets, roots, mixtures and runs at addresses."""

from tests.mutants.edits import BENCH, Edit, Mutation

SHARED = "tests/bench/test_shared_results.py"
THERE = "tests/bench/test_run_by_address.py"
REFEREE = "tests/bench/repository"
BUCKETS = "tests/seamo/test_buckets.py"
COPIES = "tests/seamo/test_copy_buckets.py"
ROOTS = "tests/seamo/test_roots.py"
MIXTURE = "tests/seamo/test_mixture.py"
AT_ADDRESS = "tests/seamo/test_run_at_address.py"
SHARED_RUN = "tests/seamo/test_run_shared.py"

SHARING = (
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
