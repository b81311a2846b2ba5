"""ShardPlan: every sample once, whoever reads, whenever it was stopped."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamo.errors import UsageError
from seamo.store.plan import ShardPlan, block_order, block_price, random_order

counts = st.integers(0, 60)
batches = st.integers(1, 12)
worlds = st.integers(1, 7)
seeds = st.integers(0, 2**63)


def plan_of(n, batch, **options):
    return ShardPlan(np.arange(100, 100 + n), batch, **options)


def real(share):
    return share.rows[~share.padding].tolist()


@settings(max_examples=150, deadline=None)
@given(counts, batches, worlds, seeds, st.booleans(), st.integers(0, 5))
def test_every_sample_exactly_once_over_all_ranks(n, batch, world, seed, shuffle, epoch):
    plan = plan_of(n, batch, seed=seed, shuffle=shuffle, epoch=epoch)
    seen = Counter(row for rank in range(world) for share in plan.shares(rank, world) for row in real(share))
    assert seen == Counter(range(100, 100 + n))


@settings(max_examples=150, deadline=None)
@given(counts, batches, worlds, seeds)
def test_ranks_have_equal_batches_of_equal_size(n, batch, world, seed):
    plan = plan_of(n, batch, seed=seed, shuffle=True)
    sizes = [[len(share.rows) for share in plan.shares(rank, world)] for rank in range(world)]
    assert all(one == sizes[0] for one in sizes)
    assert len(sizes[0]) == len(plan) == -(-n // batch)
    for index in range(len(plan)):
        padding = sum(int(plan.share(index, rank, world).padding.sum()) for rank in range(world))
        assert padding < world


@settings(max_examples=150, deadline=None)
@given(counts, batches, seeds, st.lists(st.tuples(st.integers(0, 4), worlds), max_size=6))
def test_stopping_anywhere_and_going_on_with_other_ranks_changes_nothing(n, batch, seed, legs):
    plan = plan_of(n, batch, seed=seed, shuffle=True, epoch=3)
    undisturbed = [set(plan.batch_rows(i).tolist()) for i in range(len(plan))]
    cursor, seen = 0, []
    for steps, world in [*legs, (len(plan), 1)]:
        stop = min(cursor + steps, len(plan))
        for index in range(cursor, stop):
            seen.append({row for rank in range(world) for row in real(plan.share(index, rank, world))})
        cursor = stop
    assert seen == undisturbed


@settings(max_examples=80, deadline=None)
@given(counts, batches, worlds, st.integers(1, 4), st.integers(0, 3))
def test_workers_split_a_ranks_batches(n, batch, world, workers, cursor):
    plan = plan_of(n, batch)
    alone = [share.batch for share in plan.shares(0, world, cursor)]
    split = [
        [share.batch for share in plan.shares(0, world, cursor, worker=w, workers=workers)] for w in range(workers)
    ]
    assert sorted(index for one in split for index in one) == alone


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=50), batches, seeds, st.booleans(), st.booleans())
def test_batches_never_mix_groups(groups, batch, seed, shuffle, drop_last):
    n = len(groups)
    group_of = dict(zip(range(100, 100 + n), groups, strict=True))
    plan = plan_of(n, batch, seed=seed, shuffle=shuffle, drop_last=drop_last, groups=np.asarray(groups, dtype=np.int64))
    found = [plan.batch_rows(i).tolist() for i in range(len(plan))]
    assert all(len({group_of[row] for row in one}) == 1 for one in found)
    kept = Counter(row for one in found for row in one)
    if drop_last:
        assert all(len(one) == batch for one in found)
        assert len(found) == sum(count // batch for count in Counter(groups).values())
        assert max(kept.values(), default=1) == 1
    else:
        assert kept == Counter(list(group_of))


def test_without_shuffle_the_order_is_kept():
    plan = ShardPlan(np.array([7, 3, 9, 1, 5]), 2)
    assert [plan.batch_rows(i).tolist() for i in range(len(plan))] == [[7, 3], [9, 1], [5]]
    # Three ranks share a last batch of one: one reads it, two repeat it as padding.
    last = [plan.share(2, rank, 3) for rank in range(3)]
    assert [one.rows.tolist() for one in last] == [[5], [5], [5]]
    assert [one.padding.tolist() for one in last] == [[False], [True], [True]]


def test_drop_last_leaves_out_the_rest():
    plan = ShardPlan(np.arange(11), 4, drop_last=True)
    assert [plan.batch_rows(i).tolist() for i in range(len(plan))] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_epochs_and_seeds_have_their_own_order():
    orders = {tuple(random_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    # Over many epochs every sample comes first about equally often (uniform: 2000 / 5 = 400, sd 18).
    first = Counter(int(random_order(5, 1, epoch)[0]) for epoch in range(2000))
    assert min(first.values()) > 310
    assert max(first.values()) < 490


def test_impossible_requests_are_refused():
    with pytest.raises(UsageError, match="batch of 0"):
        ShardPlan(np.arange(3), 0)
    with pytest.raises(UsageError, match="rank 2 of 2"):
        ShardPlan(np.arange(3), 1).share(0, 2, 2)
    with pytest.raises(UsageError, match="2 groups for 3 rows"):
        ShardPlan(np.arange(3), 1, groups=np.arange(2))


@settings(max_examples=100, deadline=None)
@given(counts, batches, worlds, seeds, st.integers(2, 9), st.integers(0, 40))
def test_block_order_has_every_sample_once_and_stops_anywhere(n, batch, world, seed, block, more):
    plan = plan_of(n, batch, seed=seed, shuffle=True, epoch=2, block=block, buffer=block + more)
    seen = Counter(row for rank in range(world) for share in plan.shares(rank, world) for row in real(share))
    assert seen == Counter(range(100, 100 + n))
    late = [share.rows.tolist() for share in plan.shares(0, world, cursor=len(plan) // 2)]
    assert late == [share.rows.tolist() for share in plan.shares(0, world)][len(plan) // 2 :]


def test_block_order_reads_few_blocks_at_a_time_and_differs_by_epoch():
    order = block_order(10_000, 7, 0, block=16, buffer=512)
    assert sorted(order) == list(range(10_000))
    first, last = np.full(625, 10_000), np.zeros(625)
    for place, row in enumerate(order):
        first[row // 16], last[row // 16] = min(first[row // 16], place), place
    open_at_once = max(int(((first <= place) & (place <= last)).sum()) for place in range(0, 10_000, 100))
    assert open_at_once <= (512 + 2 * 16) // 16 * 2  # a block is open for the window's length, and blocks come in turn
    assert not np.array_equal(order, block_order(10_000, 7, 1, block=16, buffer=512))
    assert np.array_equal(order, block_order(10_000, 7, 0, block=16, buffer=512))
    # Kept as it is: a run that is resumed by a later version must go on in the same order.
    assert block_order(12, 3, 1, block=4, buffer=6).tolist() == [4, 5, 6, 10, 8, 7, 11, 9, 1, 2, 0, 3]


@pytest.mark.parametrize(("block", "buffer"), [(16, 1024), (16, 4096), (64, 4096)])
def test_the_price_of_blocks_is_what_batches_show(block, buffer):
    """Variance of class shares over the middle batches of many epochs, against that of full shuffles."""
    drawn = np.random.default_rng(5)
    n, batch, kinds = 131_072, 256, 10
    labels = np.repeat(drawn.integers(0, kinds, n // 64), 64)  # neighbours agree, as in sorted archives
    hot = np.eye(kinds)[labels]
    spread = {}
    for name, order in {
        "blocks": lambda epoch: block_order(n, 1, epoch, block=block, buffer=buffer),
        "full": lambda epoch: random_order(n, 1, epoch),
    }.items():
        middle = [hot[order(epoch)][buffer : n - buffer].reshape(-1, batch, kinds).mean(axis=1) for epoch in range(4)]
        spread[name] = np.concatenate(middle).var(axis=0).sum()
    said = block_price(hot, block=block, buffer=buffer, batch=batch)
    assert said == pytest.approx(spread["blocks"] / spread["full"], rel=0.25)


def test_blocks_of_rows_without_order_cost_nothing():
    labels = np.random.default_rng(0).integers(0, 10, 20_000)
    assert block_price(np.eye(10)[labels], block=32, buffer=1024, batch=256) < 1.15
    assert block_price(np.zeros((100, 3)), block=16, buffer=64, batch=8) == 1.0
    assert block_price(np.eye(4)[[0, 1, 2, 3]], block=1, buffer=0, batch=8) == 1.0


def test_a_buffer_smaller_than_a_block_is_refused():
    with pytest.raises(UsageError, match="a buffer of 8 samples for blocks of 16"):
        plan_of(100, 4, shuffle=True, block=16, buffer=8)
