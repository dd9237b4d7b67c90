"""Native code that fails in its own process is a sentence in this one, and the next call works."""

import os
import signal

import pytest

from runners.measuring.apart import Apart

CALLS = "tests.runners.measuring.calls_that_die"


@pytest.fixture(scope="module")
def apart() -> Apart:
    return Apart(CALLS, patience_s=60)  # a busy machine takes seconds to start a process


@pytest.mark.parametrize(("fault", "words"), [("refuse", "Softermax"), ("crash", "crashed: segmentation")])
def test_a_fault_is_a_sentence_and_the_next_call_works(apart: Apart, fault: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        apart.call(fault)
    assert apart.call("add", one=1, other=2) == 3


def test_a_call_that_hangs_is_given_up_and_its_process_ended() -> None:
    apart = Apart(CALLS, patience_s=3)
    process = apart.call("where")
    with pytest.raises(ValueError, match="did not end within 3 s"):
        apart.call("hang")
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert apart.call("add", one=1, other=2) == 3


def test_the_answer_of_a_call_that_was_interrupted_is_not_given_to_the_next(apart: Apart) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    apart.call("where")  # it is there
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            apart.call("slow")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert apart.call("add", one=1, other=2) == 3


def test_one_process_answers_all_calls_and_ends_with_its_owner() -> None:
    apart = Apart(CALLS)
    process = apart.call("where")
    assert apart.call("where") == process != os.getpid()
    del apart
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_module_that_cannot_be_loaded_says_why() -> None:
    with pytest.raises(ValueError, match="cannot be started: .*there is no module 'tests.no_such'"):
        Apart("tests.no_such").call("run")
