"""service.feature_maps: when graphs are opened, kept and let go."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from numpy.typing import NDArray

from service.aside import Aside
from service.callers import CallerGoneError
from service.engines import Precision
from service.errors import DeadlinePassed, InvalidParameter, NotInArtifact, NotReady, QueueFull
from service.feature_maps import REMEMBERED, FeatureMaps, parse_channels, statistics
from service.manifest import FEATURE_MAPS, MODEL, Layer, Manifest, served_files
from tests.service.shipped import ARTIFACTS, latest

NEVER = float("inf")
LAYER = Layer(name="c", type="Conv2D", shape=[2, 2, 8], parameters=0, trainable=0, minimum=0, maximum=1)


class CountingEngine:
    """Gives each image back as the output `pixels`, and counts its runs."""

    name = "counting"
    precision: Precision = "float32"
    outputs = ("pixels",)

    def __init__(self) -> None:
        self.runs = 0

    def run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        self.runs += 1
        return [images.astype(np.float32)]


@pytest.fixture
def aside() -> Iterator[Aside]:
    aside = Aside(max_waiting=2)
    yield aside
    aside.close()


@pytest.fixture(scope="module")
def shipped() -> Manifest:
    """With the layer of CountingEngine instead of its own."""
    manifest = Manifest.model_validate_json((latest("mnist-baseline") / "manifest.json").read_bytes())
    pixels = LAYER.model_copy(update={"name": "pixels", "shape": [28, 28, 1]})
    return manifest.model_copy(update={"layers": [pixels]})


def image(value: int) -> NDArray[np.uint8]:
    return np.full((28, 28, 1), value, np.uint8)


def counting(engines: list[CountingEngine]) -> Callable[[Path], CountingEngine]:
    def open_engine(_: Path) -> CountingEngine:
        engines.append(CountingEngine())
        return engines[-1]

    return open_engine


async def test_a_graph_is_opened_on_first_use_and_once(aside: Aside, shipped: Manifest) -> None:
    engines: list[CountingEngine] = []
    maps = FeatureMaps(ARTIFACTS, counting(engines), aside, idle=1000)
    assert (engines, maps.opened) == ([], set())
    for value in (1, 2, 1):
        found = await maps.of(shipped, image(value), NEVER)
        assert (found["pixels"] == value).all()
    assert (len(engines), maps.opened) == (1, {(shipped.name, shipped.version)})
    assert engines[0].runs == 2  # the image asked for again was remembered
    maps.close()


async def test_only_the_last_images_are_remembered(aside: Aside, shipped: Manifest) -> None:
    engines: list[CountingEngine] = []
    maps = FeatureMaps(ARTIFACTS, counting(engines), aside, idle=1000)
    first, second, *others, newest = range(REMEMBERED + 1)
    runs = list[int]()
    for value in (first, second, *others, first, newest, first, *others, newest, second):
        await maps.of(shipped, image(value), NEVER)
        runs.append(engines[0].runs)
    # The newest took the place of the second, since the first had been asked for again.
    again = [REMEMBERED + 1] * (REMEMBERED + 1)
    assert runs == [*range(1, REMEMBERED + 1), REMEMBERED, *again, REMEMBERED + 2]
    maps.close()


async def test_a_graph_is_opened_where_it_and_its_weights_are_as_published(
    aside: Aside, shipped: Manifest, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / shipped.name / shipped.version
    folder.mkdir(parents=True)
    [_, weights] = served_files(shipped)
    for name in (FEATURE_MAPS, weights):
        (folder / name).symlink_to(latest(shipped.name) / name)
    (folder / MODEL).write_bytes(b"another graph, which nothing here reads")
    engines: list[CountingEngine] = []
    maps = FeatureMaps(tmp_path, counting(engines), aside, idle=1000)
    await maps.of(shipped, image(1), NEVER)
    maps.close()
    for name in (weights, FEATURE_MAPS):
        (folder / name).unlink()
        (folder / name).write_bytes(b"another net")
        maps = FeatureMaps(tmp_path, counting(engines), aside, idle=1000)
        with pytest.raises(NotReady, match=f"cannot be looked into: {name}"):
            await maps.of(shipped, image(1), NEVER)
        maps.close()
    assert len(engines) == 1


async def test_an_idle_graph_is_let_go_and_opened_again(aside: Aside, shipped: Manifest) -> None:
    engines: list[CountingEngine] = []
    maps = FeatureMaps(ARTIFACTS, counting(engines), aside, idle=1e-9)
    for opened in (1, 2):
        await maps.of(shipped, image(0), NEVER)
        while maps.opened:
            await aside.do(lambda: None, NEVER)
        assert len(engines) == opened
    maps.close()


async def test_what_nobody_waits_for_opens_no_graph(aside: Aside, shipped: Manifest) -> None:
    engines: list[CountingEngine] = []
    maps = FeatureMaps(ARTIFACTS, counting(engines), aside, idle=1000)
    with pytest.raises(CallerGoneError):
        await maps.of(shipped, image(0), NEVER, lambda: False)
    assert (engines, maps.opened) == ([], set())
    maps.close()


async def test_aside_refuses_more_than_may_wait(aside: Aside) -> None:
    release = Event()
    busy = [asyncio.create_task(aside.do(lambda: release.wait(60), NEVER)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await aside.do(lambda: None, NEVER)
    release.set()
    assert await asyncio.gather(*busy) == [True, True]
    assert await aside.do(lambda: "room again", NEVER) == "room again"


async def test_aside_keeps_the_deadline_and_the_place_of_what_it_has_begun(aside: Aside) -> None:
    begun, release = Event(), Event()

    def work() -> None:
        begun.set()
        release.wait(60)

    first = asyncio.create_task(aside.do(work, NEVER))
    assert await asyncio.to_thread(begun.wait, 60)
    first.cancel()
    late = asyncio.create_task(aside.do(lambda: None, asyncio.get_running_loop().time() + 0.01))
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):  # both have their places
        await aside.do(lambda: None, NEVER)
    with pytest.raises(DeadlinePassed):
        await late
    await asyncio.sleep(0)  # for the place of what is never begun
    waiting = asyncio.create_task(aside.do(lambda: "done", NEVER))
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await aside.do(lambda: None, NEVER)
    release.set()
    assert await waiting == "done"


async def test_aside_hands_on_what_the_work_raises(aside: Aside) -> None:
    with pytest.raises(InvalidParameter, match="backwards"):
        await aside.do(lambda: parse_channels("3-1", LAYER), NEVER)


@pytest.mark.parametrize(
    ("text", "channels"),
    [(None, list(range(8))), ("0", [0]), ("0,3-5", [0, 3, 4, 5]), (" 7 , 2-2", [7, 2]), ("1-3,2", [1, 2, 3])],
)
def test_channels_are_numbers_and_ranges(text: str | None, channels: list[int]) -> None:
    assert parse_channels(text, LAYER) == channels


@pytest.mark.parametrize("text", ["", ",", "a", "1-", "-1", "1-2-3", "8", "0-8", "1.0", "٣", "9" * 5000])
def test_other_channels_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_channels(text, LAYER)


def test_ranges_that_overlap_are_no_work_and_more_than_channels_are_refused() -> None:
    wide = LAYER.model_copy(update={"shape": [2048]})
    assert parse_channels(",".join(["0-2046"] * 2048), wide) == list(range(2047))
    with pytest.raises(InvalidParameter, match="has 9,000 parts; c has 2,048 channels"):
        parse_channels(",".join(["0-2047"] * 9000), wide)


def test_a_refusal_repeats_no_more_than_can_be_read() -> None:
    with pytest.raises(InvalidParameter) as refusal:
        parse_channels("x" * 60_000, LAYER)
    assert len(str(refusal.value)) < 1000


def test_a_channel_that_is_alone_is_no_plural() -> None:
    with pytest.raises(InvalidParameter, match="c has 1 channel, 0 to 0"):
        parse_channels("1", LAYER.model_copy(update={"shape": [2, 2, 1]}))


def test_a_channel_is_dead_when_it_is_0_everywhere() -> None:
    values = np.zeros((2, 2, 4), np.float32)
    values[0, 1, 2], values[1, 1, 3] = 3, -1
    assert statistics(values) == (-1, 0.125, 3, 0.5)
    assert statistics(np.array([0, 2, 0, 0], np.float32)) == (0, 0.5, 2, 0.75)


@pytest.mark.parametrize("there", [{"name": "other"}, {"shape": [28, 28, 2]}, {"shape": [784]}])
async def test_a_graph_of_other_layers_than_the_manifest_has_is_not_shown_nor_opened_for_each_who_asks(
    aside: Aside, shipped: Manifest, there: dict[str, object]
) -> None:
    promised = shipped.model_copy(update={"layers": [shipped.layers[0].model_copy(update=there)]})
    engines: list[CountingEngine] = []
    maps = FeatureMaps(ARTIFACTS, counting(engines), aside, idle=60)
    for _ in range(2):
        with pytest.raises(NotInArtifact, match="which its manifest tells of"):
            await maps.of(promised, image(1), NEVER)
    assert len(engines) == 1
    maps.close()
