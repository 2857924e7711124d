import asyncio

import numpy as np
import pytest

from service.deadlines import Deadlines
from service.errors import DeadlinePassed
from service.lanes import Entry


async def test_after_a_stop_it_watches_again_also_for_what_is_over_later() -> None:
    now = asyncio.get_running_loop().time()
    entry = Entry(np.zeros((1, 1)), now, now, lambda: True)
    deadlines = Deadlines(lambda: [entry])
    deadlines.watch(now - 1)
    deadlines.stop()
    deadlines.watch(now)
    async with asyncio.timeout(60):
        with pytest.raises(DeadlinePassed):
            await entry.future
