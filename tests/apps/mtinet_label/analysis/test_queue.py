import threading

import pytest

from lib.errors import BusyError
from lib.queue import AnalysisQueue


def _started(queue: AnalysisQueue, waiting: int) -> None:
    """Until so many wait."""
    for _ in range(2000):
        if queue.state().waiting == waiting:
            return
        threading.Event().wait(0.005)
    pytest.fail(f"{queue.state().waiting} wait, not {waiting}")


def test_who_comes_when_too_many_wait_is_refused() -> None:
    queue = AnalysisQueue(waiting=0)
    with queue.turn(), pytest.raises(BusyError, match="Try again"), queue.turn():
        pass
    assert queue.state().refused == 1
    with queue.turn():
        assert queue.state().running == 1


def test_a_failed_turn_lets_the_next_one_in() -> None:
    queue = AnalysisQueue(waiting=0)
    with pytest.raises(ZeroDivisionError), queue.turn():
        1 / 0  # noqa: B018
    with queue.turn():
        pass
    assert queue.state().finished == 2


def test_one_at_a_time_in_the_order_of_arrival() -> None:
    queue, order, together, most = AnalysisQueue(waiting=5), [], [0], [0]

    def work(number: int) -> None:
        with queue.turn():
            together[0] += 1
            most[0] = max(most[0], together[0])
            order.append(number)
            together[0] -= 1

    with queue.turn():
        threads = []
        for number in range(5):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            _started(queue, number + 1)
        with pytest.raises(BusyError), queue.turn():
            pass
    for thread in threads:
        thread.join()
    assert order == list(range(5))
    assert most == [1]
    assert queue.state().waiting == 0
