"""service.samples: each set is read once, whoever asks meanwhile."""

import asyncio
from pathlib import Path

import pytest

from service.errors import DeadlinePassed, NotReady, UnknownDataset
from service.samples import Samples
from tests.service.stripes import SHAPES

NEVER = float("inf")


class HeldSamples(Samples):
    """Which reads MNIST for as long as a test wants, and then may fail."""

    def __init__(self, artifacts: Path) -> None:
        super().__init__(artifacts)
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.read = list[str]()
        self.listed = 0
        self.fails = False

    async def _list(self) -> None:
        self.listed += 1
        await super()._list()

    async def _read(self, dataset: str) -> None:
        self.read.append(dataset)
        if dataset == "mnist":
            self.begun.set()
            await self.go.wait()
        if self.fails:
            raise NotReady("damaged")
        await super()._read(dataset)


@pytest.fixture
def held(artifacts: Path) -> HeldSamples:
    return HeldSamples(artifacts)


async def test_all_who_ask_while_a_set_is_read_share_it(held: HeldSamples) -> None:
    asking = [asyncio.create_task(held.of("mnist", NEVER)) for _ in range(3)]
    await held.begun.wait()
    held.go.set()
    one, two, three = await asyncio.gather(*asking)
    assert one is two is three
    assert await held.of("mnist", NEVER) is one
    assert held.read == ["mnist"]


async def test_they_share_its_failure_too_and_the_next_has_it_read_anew(held: HeldSamples) -> None:
    held.fails = True
    asking = [asyncio.create_task(held.of("mnist", NEVER)) for _ in range(3)]
    await held.begun.wait()
    held.go.set()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == 3 * ["damaged"]
    assert held.read == ["mnist"]
    held.fails = False
    assert (await held.of("mnist", NEVER)).dataset == "mnist"
    assert held.read == ["mnist", "mnist"]


async def test_other_sets_do_not_wait_for_it(held: HeldSamples) -> None:
    asking = asyncio.create_task(held.of("mnist", NEVER))
    await held.begun.wait()
    assert (await held.of("cifar10", NEVER)).dataset == "cifar10"
    assert not asking.done()
    held.go.set()
    await asking


async def test_one_who_is_cancelled_or_too_late_leaves_it_to_the_others(held: HeldSamples) -> None:
    first = asyncio.create_task(held.of("mnist", NEVER))
    await held.begun.wait()
    other = asyncio.create_task(held.of("mnist", NEVER))
    with pytest.raises(DeadlinePassed, match="were not read within the time"):
        await held.of("mnist", asyncio.get_running_loop().time())
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    held.go.set()
    assert (await other).dataset == "mnist"
    assert held.read == ["mnist"]


async def test_names_that_are_not_there_are_looked_for_once_for_all_who_ask(held: HeldSamples) -> None:
    outcomes = await asyncio.gather(*(held.of(f"no-{n}", NEVER) for n in range(9)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {UnknownDataset}
    assert (held.listed, held.read) == (1, [])


async def test_a_set_that_came_later_is_found(artifacts: Path, held: HeldSamples) -> None:
    later = artifacts / "datasets" / "later"
    with pytest.raises(UnknownDataset, match="there are those of cifar10, mnist"):
        await held.of("later", NEVER)
    later.symlink_to(artifacts / "datasets" / "cifar10")
    assert (await held.of("later", NEVER)).images.shape[1:] == SHAPES["cifar10"]
