"""The goals. Each function measures one and adds its rows to the bench. Sizes: --quick gives a look, the full size a result."""
import statistics
import time

from method import Life, Void, batch, reference, span, tickets

WIDE = {"window": 200, "window_max": 400}       # throughput: enough in flight that nothing waits for the window to grow


# ---- the pipeline against its own store

def throughput(count, usage, **options):
    with Life("null", mint=WIDE, **options) as life:
        took = life.mint(count, every=0.01)
        life.sound()
        usage[:] = [life.usage()]
        return count / took


def goal_2(bench):
    """items/s end to end, null chain / raw SQLite loop"""
    count, usage = (10000 if bench.quick else 50000), []
    ratios = bench.compare("G2", lambda: throughput(count, usage), lambda: reference("chunks", count, 500))
    bench.row("G2", f"{count} tickets end to end, null chain, items/s / raw SQLite loop", ">= 0.50", span(ratios),
              statistics.median(ratios) >= 0.5, usage[0])
    count = 5000
    rate = throughput(count, usage, blocks="disk")
    bench.row("G2", f"{count} tickets with every blob a synced file of the block store", "", f"{rate:.0f}/s", None, usage[0])


def goal_3(bench):
    """the same / one row, one commit"""
    count, usage = (10000 if bench.quick else 50000), []
    ratios = bench.compare("G3", lambda: throughput(count, usage), lambda: reference("rows", 1000, 1))
    bench.row("G3", f"{count} tickets end to end, items/s / one row a commit", ">= 40x", span(ratios, digits=1),
              statistics.median(ratios) >= 40, usage[0])


# ---- the pipeline against the chain's own bound

QUICK_SLOTS = {"items_mint": 10, "slot_ms": 10, "finality": 0}


def bounded(bench, goal, what, wanted, profile, **chain):
    """1,000 tickets, 10 per transaction, 50 transactions in flight, 400 ms: at best ceil(100 / 50) * 0.4 s."""
    bound, ratios, usage = 0.8, [], ""
    for turn in range(bench.pairs + 1):
        with Life(profile, mint={"window": 50, "window_max": 50}, chain={"latency": "400ms", **chain}) as life:
            life.warm(20)
            took = life.mint(1000)
            life.sound()
            usage = life.usage()
        bench.note(goal=goal, turn=turn, profile=profile, seconds=took)
        ratios.append(took / bound)
    ratios = ratios[1:]                                    # the first one warmed up
    bench.row(goal, f"1,000 tickets, 400 ms chain, window 50, {what}: time / bound of {bound} s", f"<= {wanted:.2f}", span(ratios),
              statistics.median(ratios) <= wanted, usage)


def goal_8(bench):
    """window bound of a 400 ms chain"""
    bounded(bench, "G8", "one signature per transaction", 1.10, "hedera-like")
    bounded(bench, "G8", "eleven signatures per transaction", 1.10, "solana-like", **QUICK_SLOTS)


def goal_9(bench):
    """the same with a tenth of the replies lost"""
    bounded(bench, "G9", "10 % of replies lost", 1.6, "hedera-like", drop_reply=100)
    bounded(bench, "G9", "10 % of replies lost, eleven signatures", 1.6, "solana-like", drop_reply=100, **QUICK_SLOTS)


# ---- throttles

def minted_items(life):
    """(time in s, items) of every mint that the chain took, by its own clock, in order; and the chain's birth."""
    ledger = life.ledger()
    taken = [(entry["time"] / 1e6, len(entry["tx"]["items"])) for entry in ledger.transactions() if entry["kind"] == 0]
    return sorted(taken), ledger.records[0]["time"] / 1e6


def refusals(life):
    """Broadcasts refused for the rate, and their share of all that arrived."""
    metrics = life.api.metrics()
    refused = metrics.sum("mintd_chain_local_faults_total", fault="throttle")
    taken = metrics.sum("mintd_chain_local_transactions_total")
    return refused, refused / (refused + taken)


def goal_10(bench):
    """Hedera's throttle: every node with its share, and the network"""
    count, limit, nodes, burst = (2000 if bench.quick else 10000), 50, 24, 1
    rates, busy, usage = [], [], ""
    for turn in range(bench.runs(3)):
        with Life("hedera-like", mint={"broadcast_routes": 1, "window": 64}, chain={
                "endpoints": [f"0.0.{3 + node}" for node in range(nodes)], "network_rate": limit * 1000,
                "node_rate": limit * 1000 // nodes, "burst": f"{burst}s", "latency": "3s"}) as life:
            life.warm()
            took = life.mint(count, every=0.5)
            life.sound()
            usage = life.usage()
            taken, _ = minted_items(life)
            refused, share = refusals(life)
        taken = taken[1:]                                  # the warm ticket
        rate = (count - limit * burst) / (taken[-1][0] - taken[0][0])
        rates.append(rate / limit)
        busy.append(100 * share)
        bench.note(goal="G10", turn=turn, seconds=took, rate=rate, refused=refused, share=share)
    good = statistics.median(rates) >= 0.9 and statistics.median(busy) <= 1
    bench.row("G10", f"{count} tickets, {nodes} nodes of 1/{nodes} each, {limit} NFT/s: rate / limit; BUSY of submits", ">= 0.90; <= 1 %",
              f"{span(rates)}; {span(busy, ' %')}", good, usage, f"{took:.1f} s")


def allowed(since, until, birth, high, low, period):
    """Items that a limit lets through which is high in even periods and low in odd ones."""
    total, at = 0.0, since
    while at < until:
        number = int((at - birth) // period)
        end = min(until, birth + (number + 1) * period)
        total += (end - at) * (low if number % 2 else high)
        at = max(end, at + 1e-6)
    return total


def goal_11(bench):
    """a throttle nobody told of, which changes four times"""
    period, high, low = (10 if bench.quick else 30), 200, 100
    count = int(period * (3 * high + 2 * low))
    rates, busy, usage = [], [], ""
    for turn in range(bench.runs(3)):
        with Life("hedera-like", mint={"broadcast_routes": 1}, chain={
                "network_rate": high * 1000, "publish_rates": False, "burst": "1s", "latency": "1s",
                "throttle_step": 1000 * low // high, "throttle_period": f"{period}s"}) as life:
            life.warm()
            life.mint(count, every=0.5)
            life.sound()
            usage = life.usage()
            taken, birth = minted_items(life)
            refused, share = refusals(life)
        since, until = birth + period, taken[-1][0]
        late = sum(items for when, items in taken if when >= since)
        rates.append(late / allowed(since, until, birth, high, low, period))
        busy.append(100 * share)
        bench.note(goal="G11", turn=turn, rate=rates[-1], refused=refused, share=share, seconds=until - birth)
    good = statistics.median(rates) >= 0.8 and statistics.median(busy) <= 10
    bench.row("G11", f"{count} tickets, hidden limit of {high}, {low}, {high}.. /s, new each {period} s: rate / limit after the first "
              f"{period} s; rejects", ">= 0.80; <= 10 %", f"{span(rates)}; {span(busy, ' %')}", good, usage)


# ---- memory, restart

def goal_16(bench):
    """peak memory of a large body"""
    count = 20000 if bench.quick else 100000
    body = batch("venue-1", tickets("big", count, pad=130))
    peaks, intakes, usage = [], [], ""
    for turn in range(bench.runs(3)):
        with Life("null") as life:
            where = life.accept(body)
            intakes.append(life.daemon.memory() / 1024)
            life.follow(where, count, every=0.05)
            life.sound()
            peaks.append(life.daemon.memory() / 1024)
            usage = life.usage()
        bench.note(goal="G16", turn=turn, intake=intakes[-1], peak=peaks[-1])
    bench.row("G16", f"{count} tickets in {len(body) / 1e6:.0f} MB, streamed and minted: peak memory (after intake alone "
              f"{max(intakes):.0f} MiB)", "<= 64 MiB", span(peaks, " MiB", 0), max(peaks) <= 64, usage)


def first_send(life, known):
    """Seconds from the start of the process to the first new transaction on the ledger."""
    start = time.time()
    life.daemon.launch()
    while True:
        fresh = [entry["time"] / 1e6 for entry in life.ledger().transactions()[known:]]
        if fresh:
            return min(fresh) - start
        if time.time() - start > 60:
            raise Void("nothing was sent within a minute")
        time.sleep(0.05)


def goal_23(bench):
    """restart with a backlog"""
    count, times, usage = (20000 if bench.quick else 100000), [], ""
    for turn in range(bench.runs(5)):
        with Life("solana-like", chain={"network_rate": 40000, "burst": "1s", "latency": "400ms"}) as life:
            life.warm()
            where = life.accept(batch("venue-1", tickets("open", count)))
            life.daemon.kill()
            times.append(first_send(life, len(life.ledger().transactions())))
            life.daemon.wait_ready()
            left = life.api.get(where).json["summary"]
            usage = f"peak {life.daemon.memory() / 1024:.0f} MiB"
        bench.note(goal="G23", turn=turn, seconds=times[-1], left=left)
    bench.row("G23", f"killed with {count} tickets accepted: start to first send", "<= 1 s", span(times, " s"),
              statistics.median(times) <= 1, usage)


# ---- what others had: the two earlier designs, on the same chain

def seed_run(count, latency, **mint):
    with Life("hedera-like", mint=mint, chain={"latency": latency}) as life:
        life.warm()
        took = life.mint(count, every=0.01)
        life.sound()
        return took, life.usage()


SEQUENTIAL = {"mode": "fixed", "maxConcurrentWorkers": 1, "batch_delay": "0"}


def seed_rows(bench, count, latency, sequential, others):
    """others: name -> (mint options, wanted text, verdict of (time, gain))"""
    times, usages = {name: [] for name in ("sequential", *others)}, {}
    for turn in range(bench.runs(3)):
        for name, options in {"sequential": sequential, **{name: other[0] for name, other in others.items()}}.items():
            took, usage = seed_run(count, latency, **options)
            times[name].append(took)
            usages[name] = usage
            bench.note(goal="seeds", count=count, turn=turn, way=name, seconds=took, usage=usage)
    base = times["sequential"]
    bench.row("seeds", f"{count} tickets at {latency} a transaction, sequential", "", span(base, " s"), None, usages["sequential"])
    for name, (_, wanted, holds) in others.items():
        gains = [slow / fast for slow, fast in zip(base, times[name])]
        bench.row("seeds", f"{count} tickets at {latency} a transaction, {name}; gain", wanted,
                  f"{span(times[name], ' s')}; {span(gains, 'x', 1)}",
                  holds(statistics.median(times[name]), statistics.median(gains)), usages[name])


def seeds(bench):
    """sequential, waves and the adaptive window side by side"""
    seed_rows(bench, 30, "2s", {**SEQUENTIAL, "batch": 5}, {
        "waves of 3 with 5 each": ({"mode": "fixed", "maxConcurrentWorkers": 3, "batch": 5, "batch_delay": "0"}, "<= 6 s",
                                   lambda took, _: took <= 6),
        "adaptive": ({}, "<= 3 s", lambda took, _: took <= 3)})
    seed_rows(bench, 100, "500ms", {**SEQUENTIAL, "batch": 1}, {
        "waves of 3 with 10 each, 100 ms pause": ({"mode": "fixed", "batch": 10}, ">= 8x", lambda _, gain: gain >= 8),
        "adaptive": ({}, ">= 10x", lambda _, gain: gain >= 10)})


GOALS = {"G2": goal_2, "G3": goal_3, "G8": goal_8, "G9": goal_9, "G10": goal_10, "G11": goal_11, "G16": goal_16, "G23": goal_23,
         "seeds": seeds}
