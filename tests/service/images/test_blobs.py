import numpy as np

from service.images import blobs


def test_labels_are_of_connected_pieces() -> None:
    mask = np.array(
        [[1, 0, 1, 0, 0, 1], [1, 0, 1, 0, 0, 0], [1, 1, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1]],
        bool,
    )
    labels = blobs.label(mask)
    assert (labels > 0).tolist() == mask.tolist()
    assert len({labels[0, 0], labels[0, 2], labels[3, 3], labels[2, 4]}) == 1
    assert len(np.unique(labels[mask])) == 4


def test_far_from_the_digit_a_speck_is_left_out_and_only_what_is_as_large_counts_as_another() -> None:
    strong = np.zeros((100, 300), bool)
    strong[30:70, 40:60] = True
    strong[50:54, 250:254] = True
    digit, others = blobs.digit_of(strong, strong.astype(np.float32))
    assert digit[30:70, 40:60].all()
    assert not digit[:, 100:].any()
    assert others == 0
    strong[30:70, 250:260] = True
    assert blobs.digit_of(strong, strong.astype(np.float32))[1] == 1
