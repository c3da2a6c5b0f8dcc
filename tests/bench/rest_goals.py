"""The goals of size and rest (G17, G18, G24): what a long backlog costs in memory and in time, and what a daemon costs that has nothing
to do. MINTD_BENCH_SCALE multiplies the numbers of tickets; --quick takes a tenth and waits a shorter while."""
import os
import statistics
import time

from method import Life, Void, batch, span, tickets

SCALE = float(os.environ.get("MINTD_BENCH_SCALE", "1"))
BODY = 50000                                    # tickets in one request
WIDE = {"window": 200, "window_max": 400}


def scaled(bench, count):
    return max(100, int(count * SCALE * (0.1 if bench.quick else 1)))


# ---- memory

def peak_at_work(count, seconds, rate):
    """(peak in MiB, of the intake; peak in MiB, of a daemon that was started on the accepted tickets and mints of them)"""
    with Life("hedera-like", chain={"network_rate": 1000 * rate, "burst": "1s", "latency": "400ms"}) as life:
        life.warm()
        for first in range(0, count, BODY):
            life.accept(batch("venue-1", tickets(f"open-{first}", min(BODY, count - first))))
        intake = life.daemon.memory() / 1024
        life.daemon.kill()
        known = len(life.ledger().transactions())
        life.daemon.start(timeout=120)
        time.sleep(seconds)
        peak = life.daemon.memory() / 1024
        with life.daemon.store() as store:
            left = store.open_chunks()
        if len(life.ledger().transactions()) <= known or not left:
            raise Void(f"it was not at work: {left} chunks left")
        return intake, peak


def peak_at_rest(seconds):
    with Life("hedera-like") as life:
        time.sleep(seconds)
        return life.daemon.memory() / 1024


def goal_17(bench):
    """memory with a short backlog, with a long one, and with none"""
    few, many, seconds = scaled(bench, 10000), scaled(bench, 1000000), 3 if bench.quick else 10
    rate = max(1, few // (4 * seconds))                    # the short backlog lasts as well
    more, peaks, intakes, idle = [], [], [], []
    for turn in range(bench.runs(3)):
        _, low = peak_at_work(few, seconds, rate)
        intake, high = peak_at_work(many, seconds, rate)
        more.append(high - low)
        peaks.append(high)
        intakes.append(intake)
        idle.append(peak_at_rest(seconds))
        bench.note(goal="G17", turn=turn, few=low, many=high, intake=intake, idle=idle[-1])
    bench.row("G17", f"{many} tickets accepted, restarted and at work: peak above that with {few} (intake {max(intakes):.0f} MiB)",
              "<= 8 MiB", span(more, " MiB", 1), max(more) <= 8, f"peak {max(peaks):.0f} MiB")
    bench.row("G17", f"nothing to do, {seconds} s after the start: peak", "<= 24 MiB", span(idle, " MiB", 1), max(idle) <= 24)


# ---- time

def seconds_for(count):
    with Life("null", mint=WIDE, api={"max_body": "1 GiB", "max_items": 16000000}) as life:
        took = life.mint(count, every=0.02)
        life.sound()
        return took, life.usage()


def goal_18(bench):
    """ten times the tickets, ten times the time"""
    few, many = scaled(bench, 50000), scaled(bench, 500000)
    ratios, usage = [], ""
    for turn in range(bench.runs(3)):
        times = {}
        for count in (few, many) if turn % 2 == 0 else (many, few):
            times[count], usage_of = seconds_for(count)
            usage = usage_of if count == many else usage
        ratios.append(times[many] / times[few])
        bench.note(goal="G18", turn=turn, seconds=times)
    bench.row("G18", f"{many} tickets on the null chain, time / that of {few}", "<= 11", span(ratios),
              statistics.median(ratios) <= 11, usage)


# ---- rest

def calls(metrics):
    """Calls of the store by op."""
    return {having["op"]: value for name, having, value in metrics.rows
            if name == "mintd_op_seconds_count" and having.get("instance") == "books"}


def goal_24(bench):
    """nothing to do"""
    seconds, cpu, rate, by_op = (10 if bench.quick else 60), [], [], {}
    for turn in range(bench.runs(3)):
        with Life("hedera-like") as life:
            life.mint(scaled(bench, 1000))
            life.sound()
            time.sleep(5)                                  # what follows a mint is over
            before = calls(life.api.metrics())
            start, used = time.monotonic(), life.daemon.cpu()
            time.sleep(seconds)
            used, took = life.daemon.cpu() - used, time.monotonic() - start
            after = calls(life.api.metrics())
        by_op = {op: after[op] - before.get(op, 0) for op in after if after[op] != before.get(op, 0)}
        cpu.append(100 * used / took)
        rate.append(sum(by_op.values()) / took)
        bench.note(goal="G24", turn=turn, cpu=cpu[-1], calls=by_op, seconds=took)
    bench.row("G24", f"nothing to do after {scaled(bench, 1000)} tickets, {seconds} s: CPU; calls of the store", "<= 0.2 %; <= 1/s",
              f"{span(cpu, ' %')}; {span(rate, '/s')}", statistics.median(cpu) <= 0.2 and statistics.median(rate) <= 1,
              extra=", ".join(f"{op} {count:.0f}" for op, count in sorted(by_op.items())))


REST_GOALS = {"G17": goal_17, "G18": goal_18, "G24": goal_24}
