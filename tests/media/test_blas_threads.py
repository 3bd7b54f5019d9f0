"""The limit of OpenBLAS's threads, also in a process that is forked while others compute."""

import os
import subprocess
import sys

import pytest

_FORKED = """
import os, threading
import numpy
from threadpoolctl import threadpool_info
from media.blas_threads import one_blas_thread

def counts():
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

before = counts()
inside, ended = threading.Event(), threading.Event()

def compute():
    with one_blas_thread:
        assert set(counts()) == {1}
        inside.set()
        ended.wait()

thread = threading.Thread(target=compute)
thread.start()
inside.wait()
with one_blas_thread._lock:
    child = os.fork()
if not child:
    assert counts() == before
    with one_blas_thread:
        assert set(counts()) == {1}
    os._exit(0 if counts() == before else 1)
ended.set()
thread.join()
assert counts() == before
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_process_forked_while_another_thread_computes_does_not_wait_for_it():
    subprocess.run([sys.executable, "-c", _FORKED], check=True, timeout=60, env={**os.environ, "OPENBLAS_NUM_THREADS": "2"})
