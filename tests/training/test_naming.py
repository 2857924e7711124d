from training.naming import Names, is_preparation, tower


def test_layers_are_numbered_by_kind_and_afresh_for_every_net() -> None:
    name = Names()
    assert [name(kind) for kind in ("conv2d", "dense", "conv2d", "conv2d")] == [
        "conv2d",
        "dense",
        "conv2d_1",
        "conv2d_2",
    ]
    assert Names()("conv2d") == "conv2d"


def test_what_prepares_is_no_layer_to_look_into_in_any_tower() -> None:
    inside = ["image", "scaling", "temperature", tower(2, "scaling"), tower(10, "image")]
    assert all(map(is_preparation, inside))
    assert not any(
        map(is_preparation, ["conv2d", "dense_1", tower(1, "conv2d"), "tower_of_image", "my_scaling"])
    )
