"""Faults of one evaluation: settings chosen on test, keys that say too little, hashes ignored, intervals too short."""

from tests.mutants.edits import BENCH, Edit, Mutation

PROTOCOLS = "tests/bench/test_contract_protocols.py::test_every_protocol_keeps_the_contract"
BACKBONES = "tests/bench/test_contract_backbones.py::test_every_card_keeps_the_contract"
CACHE = "tests/bench/test_contract_cache.py"
HASHES = "tests/test_contract_hashes.py"
SMALL = "tests/bench/test_small_samples.py"
CHOICE = "tests/bench/test_protocols.py"
BOTH = "np.concatenate([trial.train, trial.test])"
WORKS_IN = {"linear": "linear/grid", "knn": "knn/votes", "logreg": "logreg/fits", "finetune": "finetune/training"}


def protocol(name: str, what: str, *edits: tuple[str, str], file: str = "") -> Mutation:
    """A fault of one protocol, seen by its contract."""
    path = f"{BENCH}/protocols/{file or WORKS_IN[name]}"
    changes = tuple(Edit(f"{path}.py", old, new) for old, new in edits)
    return Mutation(f"{name}: {what}", changes, (f"{PROTOCOLS}[{name}]",))


EVALUATION = (
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
)
