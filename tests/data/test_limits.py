"""Limits that readers share."""

from __future__ import annotations

import threading
import time

from sivae_translate.data.limits import Allowance


def test_threads_wait_for_memory_and_none_takes_more_than_there_is() -> None:
    allowance, most, lock = Allowance(100), [0], threading.Lock()

    def work(amount: int) -> None:
        with allowance.share(amount):
            with lock:
                most[0] = max(most[0], allowance.taken)
            time.sleep(0.002)

    threads = [threading.Thread(target=work, args=(amount,)) for amount in [40, 60, 30, 100, 50] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 60 <= most[0] <= 100
    assert allowance.taken == 0


def test_who_needs_more_than_all_has_it_alone() -> None:
    allowance = Allowance(100)
    with allowance.share(500):
        waiting = threading.Thread(target=lambda: allowance.share(10).__enter__())
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()
