#!/usr/bin/python3
"""tools/demo as a newcomer runs it: what it prints, that it ends with everything minted, that it leaves nothing behind."""
import os
import re
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from mintd import BUILD, ROOT, Api, environment, free_port  # noqa: E402
from tap import check, equal, main, matches, note, test, until  # noqa: E402

DEMO = os.path.join(ROOT, "tools", "demo")


def demo(folder, *words, port=None):
    return subprocess.run([DEMO, "--no-install", "--build", BUILD, "--port", str(port or free_port()), *words], capture_output=True,
                          text=True, timeout=120, check=False, env=environment(extra={"TMPDIR": folder}))


@test
def estimate_execute_failures_retry(folder):
    port = free_port()
    done = demo(folder, port=port)
    note(done.stdout)
    equal((done.returncode, done.stderr), (0, ""))
    said = re.search(r"1000 tickets: (\S+) LOC, (\S+) s", done.stdout)
    check(said and float(said[1]) > 0 and float(said[2]) > 0, "no estimate")
    matches(done.stdout, r"accepted durably in \d\.\d+ s: /v1/batches/\d+")
    matches(done.stdout, r"\[#{30}\] 1000/1000 .*5 failed")
    first, last = re.findall(r"total 1000, succeeded (\d+), failed (\d+)", done.stdout)
    equal((first, last), (("995", "5"), ("1000", "0")))
    equal(len(re.findall(r"^   hh-\S+  failed  local\.refused_name$", done.stdout, re.M)), 5)
    matches(done.stdout, r"5 tickets in new transactions")
    matches(done.stdout.split("one of their histories")[1], "hh-2026-12-05-000002")
    matches(done.stdout, r"stopped, state removed\n$")
    equal(os.listdir(folder), [], "left behind:")
    with socket.socket() as probe:
        check(probe.connect_ex(("127.0.0.1", port)), "something still listens")


@test
def keep_leaves_it_running_and_says_how_to_stop_it(folder):
    port = free_port()
    done = demo(folder, "--keep", port=port)
    equal((done.returncode, done.stderr), (0, ""))
    key = re.search(r"^   key +(\S+) ", done.stdout, re.M)[1]
    stop = re.search(r"^   stop +(kill (\d+) && rm -r (\S+))$", done.stdout, re.M)
    pid = int(stop[2])
    try:
        equal(Api(port, key).get("/v1/batches").json["batches"][0]["summary"], {"total": 1000, "succeeded": 1000, "failed": 0})
        check(stop[3].startswith(folder + "/mintd-demo."), stop[3])
        subprocess.run(["sh", "-c", f"kill {pid}"], check=True)
        until(lambda: not os.path.exists(f"/proc/{pid}"), 15, "it ends")
    finally:
        if os.path.exists(f"/proc/{pid}"):
            os.kill(pid, signal.SIGKILL)


@test
def a_port_in_use_and_unknown_words_are_refused(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = demo(folder, port=taken.getsockname()[1])
    equal(done.returncode, 1)
    matches(done.stderr, r"^demo: port \d+ on 127\.0\.0\.1 is in use: .*--port\n$")
    done = demo(folder, "--nonsense")
    equal(done.returncode, 2)
    matches(done.stderr, "usage: tools/demo")
    equal(os.listdir(folder), [])


if __name__ == "__main__":
    sys.exit(main())
