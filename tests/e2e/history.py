#!/usr/bin/python3
"""The whole story of a ticket (GET .../tickets/{id}): request, chunks, attempts with their outcomes, proofs, fees, delivery, events."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from conf import Config  # noqa: E402
from mintd import Daemon, batch, ticket, tickets  # noqa: E402
from tap import check, equal, main, test, until  # noqa: E402


def story(api, name, venue="venue-1"):
    """The document, the same on each of its three addresses."""
    answers = [api.get(path) for path in (f"/v1/venues/{venue}/tickets/{name}", f"/admin/mints/{name}", f"/v1/tickets/{name}")]
    for answer in answers:
        equal((answer.status, answer.json), (200, answers[0].json))
    return answers[0].json


@test
def a_minted_ticket_tells_request_bounds_and_fee(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        answer = api.call("POST", "/v1/batches", batch("venue-1", tickets("t", 7)), {"X-Request-Id": "order-4711", "Prefer": "wait=20"})
        equal(answer.status, 200, answer)
        one = story(api, "t-000005")
        equal((one["batch"]["batchId"], one["batch"]["requestId"], one["batch"]["position"], one["batch"]["total"]), ("1", "order-4711", 5, 7))
        for name in ("createdAt", "acceptedAt"):
            check(one["batch"][name], name)
        equal((one["collection"]["collectionId"], one["collection"]["state"], one["collection"]["name"]), ("1", "ready", "venue-1"))
        equal(len(one["chunks"]), 1)
        chunk = one["chunks"][0]
        equal([(attempt["number"], attempt["outcome"]) for attempt in chunk["attempts"]], [(1, "final")])
        equal(chunk["attempts"][0]["transactionId"], one["signature"])
        check(int(chunk["attempts"][0]["validUntil"]) > 0 and chunk["evidence"] and chunk["upload"], chunk)
        equal(one["feeUnit"], "nloc")
        with mintd.store() as store:
            row = store.rows("SELECT fee, n FROM chunks WHERE id = ?", int(chunk["chunkId"]))[0]
        equal(chunk["fee"], str(row["fee"]))
        check(abs(float(chunk["feePerTicket"]) - row["fee"] / row["n"]) < 0.011, chunk["feePerTicket"], row["fee"], row["n"])
        kinds = [(event["kind"], event["subjectKind"]) for event in one["events"]]
        check(("request.accepted", "batch") in kinds and ("chunk.minted", "chunk") in kinds, kinds)


@test
def what_died_is_told_with_its_proof(folder):
    chain = {"ack_and_drop": 500, "validity": 40, "seed": 3}
    with Daemon(folder, Config("solana-like", chain=chain, mint={"attempts": 20})).start() as mintd:
        api = mintd.api()
        api.mint("venue-1", tickets("t", 60), prefer="respond-async")
        api.follow("/v1/batches/1", timeout=120)
        tried = 0
        for number in range(60):
            one = story(api, f"t-{number:06d}")
            attempts = [attempt for chunk in one["chunks"] for attempt in chunk["attempts"]]
            proofs = [proof for chunk in one["chunks"] for proof in chunk["proofs"]]
            equal([attempt["outcome"] for attempt in attempts].count("final"), 1)
            dead = [attempt["number"] for attempt in attempts if attempt["outcome"] == "dead"]
            equal(sorted(proof["attempt"] for proof in proofs), sorted(dead), one["ticketId"])
            for proof in proofs:
                check(proof["kind"] in ("expired", "executed_with_error", "refused") and proof["quorum"] >= 1, proof)
                check(proof["kind"] != "expired" or int(proof["watermark"]) > 0, proof)
            tried += bool(dead)
        check(tried, "no attempt died: the test tells nothing")


@test
def a_failed_and_retried_ticket_shows_both_lives(folder):
    with Daemon(folder, Config("solana-like", chain={"latency": "1s"}, mint={"window": 1, "window_max": 1})).start() as mintd:
        api = mintd.api()
        where = api.mint("venue-1", tickets("t", 20), prefer="respond-async").headers["Location"]
        until(lambda: api.get(where).json["items"]["minted"], 20, "the first are minted")
        equal(api.call("POST", where + "/cancel").status, 200)
        api.follow(where)
        gone = api.get(where + "/tickets?state=cancelled").json["tickets"][0]["ticketId"]
        one = story(api, gone)
        equal((one["state"], one["code"]), ("cancelled", "pipe.cancelled"))
        check(one["batch"]["cancelledAt"], one["batch"])
        api.call("POST", where + "/retry")
        api.follow(where, timeout=60)
        one = story(api, gone)
        equal((one["state"], [chunk["state"] for chunk in one["chunks"]]), ("minted", ["minted", "cancelled"]))
        equal(one["chunks"][0]["parent"], one["chunks"][1]["chunkId"])
        kinds = [event["kind"] for event in one["events"]]
        check("chunk.cancelled" in kinds and "chunk.retried" in kinds and "chunk.minted" in kinds, kinds)


@test
def a_delivery_is_part_of_the_story(folder):
    with Daemon(folder, Config("hedera-like")).start() as mintd:
        api = mintd.api()
        item = ticket("t-1")
        item["recipient"] = "0.0.4711"
        equal(api.mint("venue-1", [item]).status, 200)
        until(lambda: api.get("/v1/tickets/t-1").json.get("delivery") == "minted", 20, "it is delivered")
        one = story(api, "t-1")
        equal([chunk["kind"] for chunk in one["chunks"]], ["mint", "delivery"])
        equal([attempt["outcome"] for attempt in one["chunks"][1]["attempts"]], ["final"])
        check("chunk.delivered" in [event["kind"] for event in one["events"]], one["events"])
        row = api.get("/v1/tickets").json["tickets"][0]
        equal((row["delivery"], row["recipient"], row["serial"]), ("minted", "0.0.4711", one["serial"]))


@test
def a_ticket_that_waits_says_for_what(folder):
    with Daemon(folder, Config("solana-like", chain={"latency": "20s"})).start() as mintd:
        api = mintd.api()
        api.mint("venue-1", tickets("t", 3), prefer="respond-async")
        one = story(api, "t-000001")
        check(one["state"] in ("accepted", "uploading", "uploaded"), one["state"])
        equal(one["collection"]["state"], "new", "its collection is not on the chain yet")
        equal(one["chunks"][0]["attempts"], [])


if __name__ == "__main__":
    sys.exit(main())
