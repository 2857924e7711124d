"""What a batcher learns of its load: how long rows take, and whether its callers wait for their answers."""

from math import inf

OVERLOADED = 1 / 3
"""Share of the callers that are refused above which the load is taken for one that does not wait for answers: many
clients that do wait are better served by a long queue, and a flood by a short one."""

LASTING = 0.5
"""Seconds for which so many must have been refused. Of clients who wait for their answers a full queue may refuse a
few, and whoever of those asks again at once is refused a hundred times before the next run: that passes. A flood
is forgotten when nobody has come for so long, or when all who came in so long would have been less than the engine can
do: a short queue refuses most of any that come together, and would never find out that they are few."""

WORTH_REFUSING = 0.0005
"""Seconds of a row below which refusing a caller is hardly less work than answering."""

WORTH_COUNTING = 0.00005
"""Seconds of a row below which the engine is not what callers wait for: reading a request takes longer."""

SMALL_RUN = 3
"""Rows that a run of a flooded engine has at least. A run reads all of a net's weights, however few its rows are: of
one row the largest shipped net takes up to twice as long for each as of many, of four about a tenth longer."""

SINGLE_RUNS = 3.6
"""A small run takes about as long as this many one-row runs, where one was seen, since the more a run takes by itself,
the more rows it has to have. In a flood of four times what a model can do, those it answers came in the last quarter of
the run before. They wait for a run and a quarter, and for whatever is refused between: about five times as long as one
alone, whose caller waits for more than its run."""

MOST_ROWS = 64
"""Of a small run, if one row alone seemed to take far more than its share of many."""

HELD_UP = 2.0
"""Times what a run of one row took before: one that took longer was held up, and counts as one that took so long."""

LONGEST_REST = 0.02
"""Seconds for which a client is not heard at most: the same connection may bring requests for other models."""

_LATELY = 128  # callers
_MEMORY = 0.8  # weight of the run before in the time of a row: ten runs ago hardly count
_OF_A_SLOWER = 0.05
"""Weight of a run of one row that took longer than those before: much may hold it up, and nothing hurries it."""


class Load:
    """Of one model; running means that forget."""

    def __init__(self) -> None:
        self._refused = 0.0
        """share of the latest callers"""
        self._counted = -inf
        """when the latest came, on the clock of those who count"""
        self._since = inf
        """since when too many are refused, on the same clock"""
        self._lasts = False
        """whether that was long enough ago"""
        self._window, self._came = -inf, 0
        """since when rows are counted, and those that came since"""
        self._offered = 0.0
        """rows a second that came in the window before"""
        self._rows = 0.0
        self._seconds = 0.0
        self._single = 0.0
        """what a run of one row took lately; 0 before the first"""

    def learn(self, rows: int, seconds: float) -> None:
        """Is told by whoever runs them how long so many rows took, without any wait for a turn of the loop: a loop
        that is busy with requests would look like a slow engine, and they would all be refused."""
        # Weighed by rows: one image that the machine held up says little about the many after it.
        self._rows = rows + _MEMORY * self._rows
        self._seconds = seconds + _MEMORY * self._seconds
        if rows == 1:
            self._learn_single(seconds)

    def _learn_single(self, seconds: float) -> None:
        if not self._single:
            self._single = seconds
        weight = _OF_A_SLOWER if seconds > self._single else 1 - _MEMORY
        self._single += weight * (min(seconds, HELD_UP * self._single) - self._single)

    def seconds(self, rows: int) -> float:
        """What so many rows take, by the latest runs; 0 before the first."""
        return rows * self._seconds / self._rows if self._rows else 0.0

    def hear(self, now: float) -> None:
        """Somebody has come, and is counted later: after a silence there is no flood to refuse them for."""
        if now - self._counted > LASTING:
            self._refused, self._since, self._lasts = 0.0, inf, False
            self._window, self._came, self._offered = now, 0, 0.0
        elif now - self._window >= LASTING:
            self._offered = self._came / (now - self._window)
            self._window, self._came = now, 0

    def count(self, *, refused: bool, now: float, callers: int = 1, rows: int = 1) -> None:
        """One caller more, or some that came together, with so many rows each."""
        self.hear(now)
        self._counted = now
        self._came += callers * rows
        latest = 1 / _LATELY if callers == 1 else 1 - (1 - 1 / _LATELY) ** callers
        self._refused += (refused - self._refused) * latest
        if self._refused <= OVERLOADED:
            self._since, self._lasts = inf, False
        elif self._since == inf:
            self._since = now
        else:
            self._lasts = now - self._since >= LASTING

    @property
    def overloaded(self) -> bool:
        """Whether many have been refused for a while, since more came than can be done, and refusing them is much less
        work than their rows would be."""
        return self._lasts and self._worth_refusing and self.seconds(1) * self._offered >= 1

    @property
    def rest(self) -> float:
        """Seconds for which a client who was refused need not be heard again: as long as a small run takes, since
        they would be refused again; 0 for rows that take hardly longer. Who asks again at once takes the time of
        answers."""
        return min(self.seconds(self._small_run), LONGEST_REST) if self._worth_refusing else 0.0

    @property
    def _small_run(self) -> int:
        """Rows of a run of a flooded engine. By rows, since what they take is an estimate: where a fourth may take
        what is left of the time, some runs would have it and some not."""
        row = self.seconds(1)
        return min(MOST_ROWS, max(SMALL_RUN, round(SINGLE_RUNS * self._single / row))) if row else SMALL_RUN

    @property
    def worth_counting(self) -> bool:
        """Whether the engine is what callers wait for."""
        return self.seconds(1) >= WORTH_COUNTING

    @property
    def _worth_refusing(self) -> bool:
        return self.seconds(1) >= WORTH_REFUSING

    def longest_delay(self, delay: float, usual: float, flooded: float) -> float:
        """Seconds that a single row may have to wait, where it would be `delay`: `usual`, or `flooded` while
        overloaded. The rows of a small run may wait however long they take, and those that take hardly any time: a
        limit in which there are few of them would be spent on refusing all others."""
        if not self.worth_counting:
            return inf
        # Half a row less than would be one too many.
        flooded = max(flooded, self.seconds(self._small_run) - self.seconds(1) / 2)
        return min(usual, flooded) if delay > flooded and self.overloaded else usual
