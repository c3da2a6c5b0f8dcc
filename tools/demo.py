#!/usr/bin/python3
"""The talking half of tools/demo: is the port free, is the daemon ready, mint a file, show one ticket's history."""
import http.client
import json
import os
import socket
import sys
import time


def free_port(host, port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return 1
    return 0


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_ready(host, port, pid):
    end = time.monotonic() + 30
    while time.monotonic() < end and alive(pid):
        try:
            if call(host, port, None, "GET", "/readyz")[0] == 200:
                return 0
        except OSError:
            pass
        time.sleep(0.05)
    return 1


def call(host, port, key, method, path, body=None, headers=None):
    """status, headers, body as text"""
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    try:
        sent = dict(headers or {})
        if key:
            sent["x-admin-api-key"] = key
        if body is not None:
            sent["Content-Type"] = "application/json"
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def read_key(path):
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def fail(what, status, text):
    print(f"demo: {what}: HTTP {status}: {text.strip()[:500]}", file=sys.stderr)
    return 1


def clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Progress:
    """One rewritten line on a terminal, else a line each two seconds."""

    def __init__(self, total):
        self.total = total
        self.start = self.shown = time.monotonic()
        self.tty = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

    def show(self, done, failed, last=False):
        now = time.monotonic()
        if not self.tty and not last and now - self.shown < 2:
            return
        self.shown = now
        settled = done + failed
        rate = settled / max(now - self.start, 0.001)
        left = clock((self.total - settled) / rate) if settled else "-:--"
        filled = 30 * settled // max(self.total, 1)
        line = (f"   [{'#' * filled}{'.' * (30 - filled)}] {settled}/{self.total}  {rate:.0f}/s  ETA {left}"
                + (f"  {failed} failed" if failed else ""))
        if self.tty:
            sys.stdout.write("\r" + line.ljust(78) + ("\n" if last else ""))
        else:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()


def mint(host, port, key_file, body_file):
    key = read_key(key_file)
    with open(body_file, "rb") as file:
        body = file.read()
    start = time.monotonic()
    status, headers, text = call(host, port, key, "POST", "/admin/batch-mint", body,
                                 {"Prefer": "respond-async", "Idempotency-Key": f"demo-{os.getpid()}"})
    if status not in (200, 202):
        return fail("the batch was not accepted", status, text)
    where = headers.get("Location")
    print(f"   accepted durably in {time.monotonic() - start:.3f} s: {where}")
    progress = Progress(len(json.loads(body)["tickets"]))
    while True:
        status, headers, text = call(host, port, key, "GET", where)
        if status != 200:
            return fail(f"cannot follow {where}", status, text)
        batch = json.loads(text)
        summary = batch["summary"]
        done, failed = summary["succeeded"], summary["failed"]
        over = done + failed >= summary["total"]
        progress.show(done, failed, over)
        if over:
            break
        time.sleep(0.1)
    took = time.monotonic() - start
    print(f"   total {summary['total']}, succeeded {done}, failed {failed}, "
          f"{took:.2f} s, {summary['total'] / took:.0f} tickets/s")
    return 1 if failed else 0


def history(host, port, key_file, body_file):
    with open(body_file, "rb") as file:
        ticket = json.load(file)["tickets"][0]["id"]
    path = f"/admin/mints/{ticket}"
    status, _, text = call(host, port, read_key(key_file), "GET", path)
    if status != 200:
        return fail(f"GET {path}", status, text)
    for line in json.dumps(json.loads(text), indent=2, ensure_ascii=False).splitlines():
        print("   " + line)
    return 0


def main():
    commands = {"free-port": free_port, "wait-ready": wait_ready, "mint": mint, "history": history}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        print(f"usage: demo.py {'|'.join(commands)} ARGUMENTS", file=sys.stderr)
        return 2
    try:
        return commands[sys.argv[1]](*sys.argv[2:])
    except (OSError, http.client.HTTPException) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
