#!/usr/bin/python3
"""The talking half of tools/demo: is the port free, is the daemon ready, estimate, mint, what failed, retry, one history."""
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


def settled(host, port, key, where, quiet=False):
    """Follows the batch until every ticket is settled; its last description, or None and the reason is said."""
    progress = None
    while True:
        status, _, text = call(host, port, key, "GET", where)
        if status != 200:
            fail(f"cannot follow {where}", status, text)
            return None
        batch = json.loads(text)
        summary = batch["summary"]
        done, failed = summary["succeeded"], summary["failed"]
        progress = progress or Progress(summary["total"])
        over = done + failed >= summary["total"]
        if not quiet:
            progress.show(done, failed, over)
        if over:
            return batch
        time.sleep(0.1)


def estimate(host, port, key_file, body_file):
    with open(body_file, "rb") as file:
        count = len(json.load(file)["tickets"])
    path = f"/admin/batch-mint/estimate?count={count}"
    status, _, text = call(host, port, read_key(key_file), "GET", path)
    if status != 200:
        return fail(f"GET {path}", status, text)
    said = json.loads(text)
    print(f"   {count} tickets: {said['amount']} {said['currency']}, {said['estimatedTimeSeconds']} s")
    return 0


def mint(host, port, key_file, body_file, place):
    key = read_key(key_file)
    with open(body_file, "rb") as file:
        body = file.read()
    start = time.monotonic()
    status, headers, text = call(host, port, key, "POST", "/admin/batch-mint", body,
                                 {"Prefer": "respond-async", "Idempotency-Key": f"demo-{os.getpid()}"})
    if status not in (200, 202):
        return fail("the batch was not accepted", status, text)
    where = headers.get("Location")
    with open(place, "w", encoding="ascii") as file:
        file.write(where)
    print(f"   accepted durably in {time.monotonic() - start:.3f} s: {where}")
    batch = settled(host, port, key, where)
    if not batch:
        return 1
    took = time.monotonic() - start
    summary = batch["summary"]
    print(f"   total {summary['total']}, succeeded {summary['succeeded']}, failed {summary['failed']}, "
          f"{took:.2f} s, {summary['total'] / took:.0f} tickets/s, fee {batch['fee']}")
    return 0


def each_ticket(host, port, key, where):
    """Every ticket of the batch, page by page."""
    cursor = ""
    while True:
        status, _, text = call(host, port, key, "GET", f"{where}/tickets?limit=1000{cursor}")
        if status != 200:
            raise OSError(f"GET {where}/tickets: HTTP {status}: {text.strip()[:500]}")
        page = json.loads(text)
        yield from page["tickets"]
        if not page.get("next"):
            return
        cursor = f"&cursor={page['next']}"


def failed(host, port, key_file, where, wanted):
    found = [ticket for ticket in each_ticket(host, port, read_key(key_file), where) if ticket["state"] != "minted"]
    for ticket in found:
        print(f"   {ticket['ticketId']}  {ticket['state']}  {ticket.get('code', '')}")
    if len(found) != int(wanted):
        print(f"demo: {len(found)} tickets failed, {wanted} were planted", file=sys.stderr)
        return 1
    return 0


def retry(host, port, key_file, where, wanted):
    key = read_key(key_file)
    status, _, text = call(host, port, key, "POST", f"{where}/retry")
    if status != 200:
        return fail(f"POST {where}/retry", status, text)
    print(f"   {json.loads(text)['tickets']} tickets in new transactions; what is minted is not touched")
    batch = settled(host, port, key, where, quiet=True)
    if not batch:
        return 1
    summary = batch["summary"]
    print(f"   total {summary['total']}, succeeded {summary['succeeded']}, failed {summary['failed']}, fee {batch['fee']}")
    return 1 if summary["failed"] or json.loads(text)["tickets"] != int(wanted) else 0


def history(host, port, key_file, ticket):
    path = f"/admin/mints/{ticket}"
    status, _, text = call(host, port, read_key(key_file), "GET", path)
    if status != 200:
        return fail(f"GET {path}", status, text)
    for line in json.dumps(json.loads(text), indent=2, ensure_ascii=False).splitlines():
        print("   " + line)
    return 0


def main():
    commands = {"free-port": free_port, "wait-ready": wait_ready, "estimate": estimate, "mint": mint, "failed": failed, "retry": retry,
                "history": history}
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
