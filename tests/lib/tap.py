"""A very small test runner: functions marked @test, TAP on stdout, one temporary folder per test.

A test passes when it returns, fails when it raises, is skipped when it calls skip(). The folder of a failed test is kept
and named. Python 3 standard library only.
"""
import os
import re
import shutil
import sys
import tempfile
import time
import traceback

_tests = []


class Skip(Exception):
    def __init__(self, reason, peer):
        super().__init__(reason)
        self.peer = peer


def test(function):
    _tests.append(function)
    return function


def skip(reason, peer=False):
    """Ends the test as skipped. peer: on a build server (CI=true) this counts as a failure."""
    raise Skip(reason, peer)


def check(condition, *message):
    if not condition:
        raise AssertionError(" ".join(str(part) for part in message) or "check failed")


def equal(got, wanted, *message):
    if got != wanted:
        raise AssertionError(" ".join([*(str(part) for part in message), f"got {got!r}, wanted {wanted!r}"]))


def matches(text, pattern, *message):
    if not re.search(pattern, text, re.S):
        raise AssertionError(" ".join([*(str(part) for part in message), f"{pattern!r} not found in {text[-2000:]!r}"]))


def until(condition, timeout, what, every=0.02):
    """Waits until condition() is truthy and returns that value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(every)


def note(*message):
    """A line of talk: shown, never counted."""
    for line in " ".join(str(part) for part in message).splitlines():
        print(f"# {line}", flush=True)


def _run_one(function, folder):
    """The result word and the lines of talk."""
    try:
        function(folder)
        return "ok", ""
    except Skip as reason:
        if reason.peer and os.environ.get("CI") == "true":
            return "not ok", f"skipped although CI=true: {reason}"
        return "skip", str(reason)
    except AssertionError:
        return "not ok", traceback.format_exc(limit=-4)
    except Exception:  # a test that breaks is a failed test, the others still run
        return "not ok", traceback.format_exc()


def main(wanted=None):
    """Runs the tests whose name contains one of the command line's words (all without any)."""
    words = sys.argv[1:] if wanted is None else wanted
    chosen = [t for t in _tests if not words or any(word in t.__name__ for word in words)]
    print(f"1..{len(chosen)}", flush=True)
    failed = 0
    for place, function in enumerate(chosen, 1):
        name = function.__name__.strip("_").replace("_", " ")
        folder = tempfile.mkdtemp(prefix="mintd-test.")
        start = time.monotonic()
        result, talk = _run_one(function, folder)
        took = time.monotonic() - start
        if result == "skip":
            print(f"ok {place} - {name} # SKIP {talk}", flush=True)
        else:
            print(f"{result} {place} - {name} # {took:.2f} s", flush=True)
        if result == "not ok":
            failed += 1
            note(talk)
            note(f"folder kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed or not chosen else 0
