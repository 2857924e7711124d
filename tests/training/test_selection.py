import numpy as np
import pytest

from training.selection import LastLosses, images_in_an_epoch, select, with_rows


def random() -> np.random.Generator:
    return np.random.default_rng(1)


def test_half_of_the_easy_sits_out_and_the_other_half_counts_twice() -> None:
    losses = np.arange(100, dtype=np.float32)
    rows, weights = select(losses, 0.6, random())
    assert len(rows) == len(set(rows.tolist())) == images_in_an_epoch(100, 0.6) == 70
    assert set(range(60, 100)) <= set(rows.tolist())
    assert weights.tolist() == [2.0] * 60 + [1.0] * 40


def test_the_expected_gradient_is_that_of_all_images() -> None:
    losses = np.arange(100, dtype=np.float32)
    draws = np.random.default_rng(1)
    total = np.zeros(100)
    for _ in range(2000):
        rows, weights = select(losses, 0.6, draws)
        total[rows] += weights[rows]
    assert total / 2000 == pytest.approx(np.ones(100), abs=0.1)


def test_without_easy_images_every_image_is_seen_once() -> None:
    rows, weights = select(np.zeros(50, np.float32), 0.0, random())
    assert sorted(rows.tolist()) == list(range(50))
    assert weights.tolist() == [1.0] * 50
    assert rows.tolist() != sorted(rows.tolist())


def test_chance_decides_among_equal_losses() -> None:
    rows, weights = select(np.zeros(100, np.float32), 0.6, random())
    assert len(rows) == 70
    assert weights[:60].tolist() != [2.0] * 60


def test_losses_are_kept_by_image_and_those_not_seen_keep_theirs() -> None:
    memory = LastLosses(3)
    targets = with_rows(np.eye(3, dtype=np.float32))
    logits = np.array([[9.0, 0, 0], [0, 0, 0], [0, 0, 0]], np.float32)
    memory.update_state(targets[[1, 0]], logits[[1, 0]])
    assert float(memory.result()) == pytest.approx(np.log(3.0), abs=1e-4)
    validated = targets[[2]]
    validated[:, -1] = 3  # not one of the three
    memory.update_state(validated, logits[[2]])
    assert memory.added_to(None)[2] < 0
    kept = memory.added_to(np.full(3, 7, np.float32))
    assert kept.tolist() == pytest.approx([np.log(1 + 2 * np.exp(-9.0)), np.log(3.0), 7.0], abs=1e-4)
    memory.reset_state()
    assert memory.added_to(kept).tolist() == kept.tolist()
