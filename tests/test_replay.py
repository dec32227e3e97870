"""The experience buffer: what a full ring keeps, and runs of transitions across episode ends and the ring's seam."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dyna_ail.learning.replay import ReplayBuffer, Transitions


def _numbered(*numbers: int, terminated: tuple[int, ...] = (), truncated: tuple[int, ...] = ()) -> Transitions:
    """Transition i goes from state i to state i + 0.5 by action -i."""
    n = torch.tensor(numbers, dtype=torch.float32)[:, None]
    flags = (torch.tensor([i in ends for i in numbers], dtype=torch.bool) for ends in (terminated, truncated))
    return Transitions(n, -n, n + 0.5, *flags)


def _numbers(transitions: Transitions) -> list[int]:
    return [int(i) for i in transitions.obs.flatten()]


def _runs(replay: ReplayBuffer, length: int) -> dict[int, list[int]]:
    """Start of a run -> the numbers that its mask keeps; from enough draws to see every start."""
    run, mask = replay.sample_sequences(400, length, torch.Generator().manual_seed(0))
    assert run.obs.shape == (length, 400, 1) and mask.shape == (length, 400)
    kept: dict[int, list[int]] = {}
    for column in range(400):
        numbers = [int(i) for i, m in zip(run.obs[:, column, 0], mask[:, column], strict=True) if m]
        assert (mask[:, column].diff() <= 0).all(), "once over, a run stays over"
        kept[int(run.obs[0, column, 0])] = numbers
    return kept


def test_ring_overwrites_the_oldest():
    replay = ReplayBuffer(5, 1, 1)
    replay.add(_numbered(0, 1, 2))
    assert len(replay) == 3 and _numbers(replay.data) == [0, 1, 2]
    replay.add(_numbered(3, 4, 5, 6))
    assert len(replay) == 5 and replay.added == 7
    assert sorted(_numbers(replay.data)) == [2, 3, 4, 5, 6]


def test_fields_stay_together():
    replay = ReplayBuffer(4, 1, 1)
    replay.add(_numbered(0, 1, 2))
    replay.add(_numbered(3, 4, 5, terminated=(4,), truncated=(3,)))
    batch = replay.sample(200, torch.Generator().manual_seed(1))
    assert set(_numbers(batch)) == {2, 3, 4, 5}
    assert torch.equal(batch.action, -batch.obs) and torch.equal(batch.next_obs, batch.obs + 0.5)
    assert torch.equal(batch.terminated, batch.obs[:, 0] == 4)
    assert torch.equal(batch.truncated, batch.obs[:, 0] == 3)


def test_a_segment_longer_than_the_ring_leaves_its_end():
    replay = ReplayBuffer(3, 1, 1)
    replay.add(_numbered(0, 1, 2, 3, 4, 5, 6))
    assert sorted(_numbers(replay.data)) == [4, 5, 6]


def test_draws_are_uniform():
    replay = ReplayBuffer(10, 1, 1)
    replay.add(_numbered(*range(4)))
    counts = torch.bincount(replay.sample(8000, torch.Generator().manual_seed(2)).obs.flatten().long(), minlength=4)
    sigma = (8000 * 0.25 * 0.75) ** 0.5
    assert len(counts) == 4 and (counts - 2000).abs().max() < 4 * sigma


def test_half_of_a_draw_is_from_the_newest():
    replay = ReplayBuffer(8, 1, 1)
    replay.add(_numbered(0, 1))
    assert set(_numbers(replay.sample(200, torch.Generator().manual_seed(3), recent=3))) == {0, 1}
    replay.add(_numbered(*range(2, 10)))  # the ring holds 8 9 | 2 ... 7: the newest three lie on both sides of its seam
    batch = replay.sample(16000, torch.Generator().manual_seed(4), recent=3)
    counts = torch.bincount(batch.obs.flatten().long(), minlength=10)
    old, new = 16000 / 2 / 8, 16000 / 2 / 8 + 16000 / 2 / 3
    expected = torch.tensor([0, 0, *[old] * 5, *[new] * 3])
    assert ((counts - expected).abs() <= 5 * expected.sqrt()).all()


def test_runs_stop_at_ends_of_episodes_and_of_the_record():
    replay = ReplayBuffer(100, 1, 1)
    replay.add(_numbered(*range(8), terminated=(2,), truncated=(4,)))
    assert _runs(replay, 4) == {
        0: [0, 1, 2],
        1: [1, 2],
        2: [2],
        3: [3, 4],
        4: [4],
        5: [5, 6, 7],  # the record ends here, the episode has not
        6: [6, 7],
        7: [7],
    }


def test_runs_go_on_across_the_seam_but_not_from_newest_to_oldest():
    replay = ReplayBuffer(6, 1, 1)
    replay.add(_numbered(*range(6)))
    replay.add(_numbered(6, 7, 8))  # the ring holds 6 7 8 | 3 4 5: its seam is inside the run 3..8
    assert _runs(replay, 4) == {
        3: [3, 4, 5, 6],
        4: [4, 5, 6, 7],
        5: [5, 6, 7, 8],
        6: [6, 7, 8],
        7: [7, 8],
        8: [8],
    }


def test_what_opens_an_episode_follows_on_nothing():
    replay = ReplayBuffer(5, 1, 1)
    replay.add(_numbered(0, 1), episode_start=True)
    replay.add(_numbered(2, 3))
    assert not replay.data.truncated.any()
    replay.add(_numbered(4, terminated=(4,)), episode_start=True)
    assert _runs(replay, 3) == {0: [0, 1, 2], 1: [1, 2, 3], 2: [2, 3], 3: [3], 4: [4]}
    replay.add(_numbered(5), episode_start=True)
    assert replay.data.truncated.nonzero().flatten().tolist() == [3], "what terminated was not cut"


def test_single_transitions_are_never_masked():
    replay = ReplayBuffer(4, 1, 1)
    replay.add(_numbered(0, 1, 2, terminated=(1,)))
    _, mask = replay.sample_sequences(50, 1, torch.Generator().manual_seed(3))
    assert (mask == 1).all()


def _rows(replay: ReplayBuffer) -> list[int]:
    """How many rows memory is taken for, by each column's storage."""
    columns = vars(replay._ring).values()
    return [c.untyped_storage().nbytes() // (c.element_size() * math.prod(c.shape[1:])) for c in columns]


def test_memory_is_taken_for_what_is_reserved_or_stored():
    replay = ReplayBuffer(1_000_000, 1, 1)
    assert _rows(replay) == [0] * 5
    replay.reserve(120)
    assert _rows(replay) == [120] * 5
    replay.add(_numbered(*range(100)))
    replay.add(_numbered(*range(100, 120)))
    replay.reserve(50)
    assert _rows(replay) == [120] * 5, "what is there is enough"
    replay.add(_numbered(120))
    assert _rows(replay) == [240] * 5, "twice as many, or adding would copy all at every step"
    replay.reserve(2_000_000)
    assert _rows(replay) == [1_000_000] * 5, "never more than the capacity"
    assert _numbers(replay.data) == list(range(121))


def test_a_restored_buffer_takes_memory_for_what_it_holds():
    replay, again = ReplayBuffer(1_000_000, 1, 1), ReplayBuffer(1_000_000, 1, 1)
    replay.reserve(5000)
    replay.add(_numbered(*range(7), terminated=(3,), truncated=(5,)))
    again.load_state_dict(replay.state_dict())
    assert _rows(again) == [7] * 5 and again.added == 7
    for ours, theirs in zip(vars(again.data).values(), vars(replay.data).values(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("capacity", [7, 40, 1000])
def test_the_memory_changes_no_sample(capacity: int):
    """Grown row by row, reserved in part or in whole, restored: the draws are those of a buffer that has it all."""
    g = torch.Generator().manual_seed(5)
    whole, grown, part = (ReplayBuffer(capacity, 1, 1) for _ in range(3))
    whole.reserve(capacity)
    part.reserve(30)
    number = 0
    for _ in range(25):
        count = int(torch.randint(1, 5, (), generator=g))
        numbers = range(number, number + count)
        ends = {i for i in numbers if i % 6 == 5}
        new = _numbered(*numbers, terminated=tuple(ends))
        for replay in (whole, grown, part):
            replay.add(new, episode_start=number % 4 == 0)
        number += count
        restored = ReplayBuffer(capacity, 1, 1)
        restored.load_state_dict(grown.state_dict())
        for replay in (grown, part, restored):
            assert len(replay) == len(whole) and replay.added == whole.added
            for draw in (
                lambda buffer: buffer.sample(30, torch.Generator().manual_seed(6)),
                lambda buffer: buffer.sample(30, torch.Generator().manual_seed(6), recent=4),
                lambda buffer: buffer.sample_sequences(30, 3, torch.Generator().manual_seed(6))[0],
            ):
                for ours, theirs in zip(vars(draw(replay)).values(), vars(draw(whole)).values(), strict=True):
                    assert torch.equal(ours, theirs)
    assert number > 40


def test_shapes_are_checked():
    rows: Tensor = torch.zeros(3, 2)
    flags = torch.zeros(3, dtype=torch.bool)
    with pytest.raises(AssertionError):
        Transitions(rows, rows, rows[:2], flags, flags)
    with pytest.raises(AssertionError):
        Transitions(rows, rows, rows, flags, flags[:2])
