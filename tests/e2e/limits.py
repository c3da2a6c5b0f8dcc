#!/usr/bin/python3
"""The machine runs out of something: disk, file descriptors, memory, a working fsync. Nothing that was promised may be lost."""
import http.client
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from conf import Config  # noqa: E402
from ledger import Ledger  # noqa: E402
from mintd import BUILD, Api, Daemon, tickets  # noqa: E402
from tap import check, equal, main, matches, note, skip, test, until  # noqa: E402


def mounted(path, size):
    os.makedirs(path, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "mintd-test", path], check=False,
                          capture_output=True, text=True)
    if done.returncode:
        skip(f"mounting a sized tmpfs is not permitted here: {done.stderr.strip()}")


def fill(path):
    """Takes all the space that is left."""
    with open(os.path.join(path, "filler"), "wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 65536):
                pass
        except OSError:
            pass


@test
def a_full_disk_refuses_precisely_and_loses_nothing_accepted(folder):
    state = os.path.join(folder, "small")
    mounted(state, "24m")
    try:
        config = Config("solana-like", top={"state_dir": state})
        with Daemon(os.path.join(folder, "home"), config).start() as mintd:
            api = mintd.api()
            accepted = []
            equal(api.mint("venue-1", tickets("before", 20), key="before").status, 200)
            accepted += [item["id"] for item in tickets("before", 20)]
            equal(api.mint("venue-1", tickets("during", 200, pad=500), key="during", prefer="respond-async").status, 202)
            accepted += [item["id"] for item in tickets("during", 200)]
            fill(state)                                    # the disk is full in the middle of that
            refusals = 0
            for turn in range(40):
                items = tickets(f"full{turn}", 50, pad=2000)
                answer = api.mint("venue-1", items, key=f"full{turn}", prefer="respond-async")
                if answer.status == 202:
                    accepted += [item["id"] for item in items]
                    continue
                refusals += 1
                equal((answer.status, answer.code, answer.headers["Content-Type"]), (503, "store.full", "application/problem+json"))
                matches(answer.json["detail"], "free disk space")
                check(int(answer.headers["Retry-After"]) > 0, answer)
            check(refusals, "the disk never became full")
            equal(api.get("/livez").status, 200)
            os.remove(os.path.join(state, "filler"))
            until(lambda: api.mint("venue-1", tickets("after", 5), key="after", prefer="respond-async").status == 202, 30,
                  "accepting again")
            accepted += [item["id"] for item in tickets("after", 5)]

            def settled():
                with mintd.store() as store:
                    return not store.open_chunks()
            until(settled, 60, "everything accepted is terminal", every=0.2)
            with mintd.store() as store:
                states = {row["ticket"]: row["state"] for row in store.items()}
            equal([name for name in accepted if states.get(name) != 10], [], "accepted and not minted:")
            note(f"{refusals} refusals, {len(accepted)} tickets accepted and minted")
            equal(mintd.stop(), 0)
            full = [line for line in mintd.log.splitlines() if "op=commit" in line and "store.full" in line]
            check(1 <= len(full) <= 4, len(full), "lines say it:", *full[:5])
            matches(mintd.log, "takes writes again")
    finally:
        subprocess.run(["umount", "-l", state], check=False)


@test
def a_start_on_a_full_disk_is_one_clear_line(folder):
    state = os.path.join(folder, "small")
    mounted(state, "256k")
    try:
        fill(state)
        mintd = Daemon(os.path.join(folder, "home"), Config("solana-like", top={"state_dir": state})).launch()
        with mintd:
            equal(mintd.wait(20), 1, mintd.log[-1000:])
            matches(mintd.log, "small/.*No space left on device")
            equal(len(mintd.log.splitlines()), 1, mintd.log)
    finally:
        subprocess.run(["umount", "-l", state], check=False)


@test
def too_many_connections_exhaust_descriptors_and_it_recovers(folder):
    if not shutil.which("prlimit"):
        skip("prlimit is not installed")
    with Daemon(folder, Config("solana-like", api={"max_connections_per_ip": 1000, "max_connections": 1000}),
                prefix=["prlimit", "--nofile=64"]).start() as mintd:
        where = mintd.api().mint("venue-1", tickets("t", 60), key="k", prefer="respond-async").headers["Location"]
        crowd = []
        for _ in range(300):
            link = socket.socket()
            link.settimeout(2)
            try:
                link.connect(("127.0.0.1", mintd.port))
                link.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")      # never finished
                crowd.append(link)
            except OSError:
                link.close()
        time.sleep(1)
        before = mintd.cpu()
        time.sleep(1)
        check(mintd.cpu() - before < 0.6, "it spins while out of descriptors:", mintd.cpu() - before)
        equal(mintd.process.poll(), None, mintd.log[-1000:])
        for link in crowd:
            link.close()
        until(mintd.ready, 15, "answers again")
        equal(mintd.api().follow(where)["summary"]["succeeded"], 60)
        equal(mintd.api().mint("venue-1", tickets("u", 5)).status, 200)
        equal(mintd.stop(), 0)


@test
def a_connection_limit_per_address_holds(folder):
    with Daemon(folder, Config("solana-like", api={"max_connections_per_ip": 8})).start() as mintd:
        links = [socket.create_connection(("127.0.0.1", mintd.port), timeout=5) for _ in range(20)]
        cut = 0
        for link in links:
            try:
                link.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                cut += not link.recv(100)
            except OSError:
                cut += 1
        check(cut >= 12, "only", cut, "of 20 connections were cut")
        for link in links:
            link.close()
        until(mintd.ready, 10, "answers again")


@test
def a_failing_fsync_ends_the_daemon_and_loses_nothing(folder):
    if not shutil.which("strace"):
        skip("strace is not installed")
    config = Config("solana-like")
    with Daemon(folder, config).start() as mintd:
        equal(mintd.api().mint("venue-1", tickets("t", 10), key="before").status, 200)
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync",
                                   "-e", "inject=fdatasync,fsync:error=EIO:when=1+", "-p", str(mintd.process.pid)],
                                  stderr=subprocess.PIPE, text=True)
        time.sleep(0.7)
        if tracer.poll() is not None:
            skip(f"tracing is not permitted here: {tracer.stderr.read().strip()[:200]}")
        try:
            try:
                answer = Api(mintd.port, mintd.key, timeout=20).mint("venue-1", tickets("u", 10), key="during")
                check(answer.status in (503, 507, 500), "accepted without a working fsync:", answer)
            except (OSError, http.client.HTTPException):
                pass
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(10)
        mintd.kill()
        mintd.start()
        api = mintd.api()
        again = api.mint("venue-1", tickets("u", 10), key="during", prefer="respond-async")
        check(again.status in (200, 202), again)
        api.follow(again.headers["Location"]) if again.status == 202 else None
        with mintd.store() as store:
            rows = store.items()
            equal(len(rows), 20)
            equal({row["state"] for row in rows}, {10})


@test
def little_memory_is_a_clean_end_or_a_refusal(folder):
    if BUILD.endswith(("asan", "tsan")):
        skip("an address space limit and a sanitizer exclude each other")
    for megabytes in (8, 16, 32, 64, 80, 96, 112, 128, 192):
        home = os.path.join(folder, str(megabytes))
        config = Config("solana-like")
        answer = None
        with Daemon(home, config, prefix=["prlimit", f"--as={megabytes << 20}"]).launch() as mintd:
            try:
                mintd.wait_ready(3)
                answer = mintd.api(10).mint("venue-1", tickets("t", 200, pad=3000), key="k")
                check(answer.status in (200, 202, 503), answer)
            except (AssertionError, OSError, http.client.HTTPException) as error:
                note(megabytes, "MiB:", type(error).__name__)
            code = mintd.process.poll()
            check(code in (None, 1, 127), megabytes, "MB:", code, mintd.log[-500:])      # 127: the dynamic loader's
            note(f"{megabytes} MiB: exit {code}, answer {answer.status if answer else None}, "
                 f"{mintd.log.splitlines()[-1][:150] if code else ''}")
        if answer is None:
            continue
        with Daemon(home, config).start() as mintd:                        # what little memory left behind is whole
            again = mintd.api().mint("venue-1", tickets("t", 200, pad=3000), key="k")
            equal((again.status, again.json["summary"]["succeeded"]), (200, 200))
            equal(mintd.stop(), 0)
        uris = [mint["uri"] for mint in Ledger(config.ledger(home)).mints()]
        equal((len(uris), len(set(uris))), (200, 200), megabytes, "MB, in the ledger:")


@test
def the_log_pipe_may_break(folder):
    config = Config("solana-like", log={"level": "debug"})
    config.write(folder)
    with Daemon(folder, config).launch() as mintd:
        mintd.wait_ready()
        equal(mintd.stop(), 0)
    from mintd import binary, environment
    process = subprocess.Popen([binary(), "-c", config.path(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env=environment())
    process.stdout.close()
    try:
        until(lambda: Api(config.port, None, 5).get("/livez").status == 200 if _listening(config.port) else False, 10,
              "it runs without a reader of its log")
        process.send_signal(signal.SIGTERM)
        equal(process.wait(12), 0)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    sys.exit(main())
