"""Names of layers: the same in every process, artifact and answer."""

SCALING = "scaling"  # the one layer that prepares the input; it is no part of the net that people look into

TEMPERATURE = "temperature"  # what the logits are divided by before softmax

Shape = tuple[int, int, int]


class Names:
    """conv2d, conv2d_1, …: Keras's way of naming, counted afresh for every net."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def __call__(self, kind: str) -> str:
        count = self._next.get(kind, 0)
        self._next[kind] = count + 1
        return f"{kind}_{count}" if count else kind


def tower(number: int, name: str) -> str:
    """A layer's name in a net of several towers."""
    return f"tower{number}_{name}"


def is_preparation(name: str) -> bool:
    """Whether a layer is inside the graph, but none that people look into: the input, its scaling, a temperature."""
    own = name.partition("_")[2] if name.startswith("tower") else name
    return own in {"image", SCALING, TEMPERATURE}
