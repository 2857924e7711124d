import numpy as np
import pytest

from service.ranking import HESITATION, MANY, Ranking, hesitation, rank


def test_classes_come_likeliest_first() -> None:
    [ranking] = rank(np.array([[0.1, 0.6, 0.3]], np.float32))
    assert ranking.indices == [1, 2, 0]
    assert ranking.probabilities == pytest.approx([0.6, 0.3, 0.1])
    assert ranking.margin == pytest.approx(0.3)
    assert ranking.entropy == pytest.approx(
        -(0.6 * np.log(0.6) + 0.3 * np.log(0.3) + 0.1 * np.log(0.1)), abs=1e-6
    )


def test_equal_probabilities_keep_the_order_of_the_classes() -> None:
    [ranking] = rank(np.full((1, 4), 0.25, np.float32))
    assert ranking.indices == [0, 1, 2, 3]
    assert ranking.margin == 0
    assert ranking.entropy == pytest.approx(np.log(4))


@pytest.mark.parametrize("rows", [1, MANY])
def test_a_sure_answer_has_no_entropy_and_not_minus_0(rows: int) -> None:
    for ranking in rank(np.array([[0, 1, 0]] * rows, np.float32)):
        assert str(ranking.entropy) == "0.0"
        assert ranking.margin == 1


def test_a_softmax_rounded_above_one_is_one() -> None:
    [ranking] = rank(np.array([[np.nextafter(np.float32(1), np.float32(2)), 0]], np.float32))
    assert ranking.probabilities[0] == 1


def test_each_row_is_ranked_by_itself() -> None:
    random = np.random.default_rng(0).dirichlet(np.ones(10), 50).astype(np.float32)
    for row, ranking in zip(random, rank(random), strict=True):
        assert ranking.indices == sorted(range(10), key=lambda index: -row[index])
        assert ranking.probabilities == sorted(row.tolist(), reverse=True)


@pytest.mark.parametrize("rows", [1, MANY - 1, MANY, 50])
def test_one_row_is_ranked_as_among_many(rows: int) -> None:
    random = np.random.default_rng(rows).dirichlet(np.ones(10), rows).astype(np.float32)
    random[0] = [0, 0.25, 0, 0.5, 0.25, 0, 0, 0, 0, 0]
    random[-1] = [0, 0, np.nextafter(np.float32(1), np.float32(2)), *[0] * 7]
    for row, ranking in zip(random, rank(random), strict=True):
        [alone] = rank(row[None])
        assert ranking[:3] == alone[:3]
        assert ranking.entropy == pytest.approx(alone.entropy, abs=1e-12)


@pytest.mark.parametrize("rows", [1, MANY])
def test_fewer_classes_are_the_likeliest_of_all(rows: int) -> None:
    random = np.random.default_rng(rows).dirichlet(np.ones(10), rows).astype(np.float32)
    for whole, cut in zip(rank(random), rank(random, 3), strict=True):
        assert (cut.indices, cut.probabilities) == (whole.indices[:3], whole.probabilities[:3])
        assert (cut.margin, cut.entropy) == (whole.margin, whole.entropy)


def test_a_small_margin_is_a_hesitation_and_a_large_one_is_none() -> None:
    sure, unsure = rank(np.array([[0.5 + HESITATION, 0.5 - HESITATION], [0.51, 0.49]], np.float32))
    assert hesitation(sure, ["4", "9"]) is None
    assert hesitation(unsure, ["4", "9"]) == "hesitates between 4 and 9"


def test_a_margin_of_the_limit_itself_is_no_hesitation() -> None:
    limit = Ranking([0, 1], [0.6, 0.4], HESITATION, 0.7)
    assert hesitation(limit, ["4", "9"]) is None
    assert hesitation(limit._replace(margin=np.nextafter(HESITATION, 0)), ["4", "9"]) is not None
