#!/usr/bin/python3
"""Reads a chain-local ledger on its own, without mintd: the third book that the checker compares. Format: the README of the
plugin. A torn tail is ignored, as the next daemon would cut it; anything else that does not fit raises Damaged.

usage: ledger.py FILE      prints what is in it, a JSON object a line
"""
import hashlib
import json
import struct
import sys

MAGIC = b"mintd ledger 1\n\0"
GENESIS, TX, MARK = 1, 2, 3
LANDED, ERRED, DROPPED, ROLLED = 1, 2, 3, 4
FATES = {LANDED: "landed", ERRED: "erred", DROPPED: "dropped", ROLLED: "rolled_back"}
MINT, COLLECTION, TRANSFER = 0, 1, 2
SOLANA, HEDERA, NULL = 1, 2, 3
PROFILES = {SOLANA: "solana-like", HEDERA: "hedera-like", NULL: "null"}
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Damaged(Exception):
    """The file is not what a chain-local wrote."""


def base58(data):
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = ALPHABET[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


class Reader:
    """Little-endian fields of one record or transaction."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise Damaged("a record ends too early")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def block(self, size):
        return self.take(self.number(size))

    def text(self, size):
        return self.block(size).decode("utf-8", "surrogateescape")

    def end(self):
        if self.at != len(self.data):
            raise Damaged("a record is longer than its fields")


def transaction(raw):
    """The signed bytes: kind, items, payer."""
    outer = Reader(raw)
    if outer.number(1) != 1:
        raise Damaged("a transaction of an unknown format")
    body = Reader(outer.block(4))
    if body.take(4) != b"mcl1":
        raise Damaged("a transaction without its magic")
    found = {"profile": body.number(1), "kind": body.number(1), "network": body.take(32)}
    for name, size in (("start", 8), ("bound", 8), ("fee_max", 8), ("chunk", 8), ("attempt", 4), ("nonce", 8)):
        found[name] = body.number(size)
    found["collection"], found["memo"], found["spec"] = body.text(1), body.text(2), body.block(4)
    found["items"] = [{"pub": body.block(1), "tag": body.block(1), "name": body.text(2), "uri": body.text(2), "owner": body.text(2),
                       "asset": body.text(1)} for _ in range(body.number(1))]
    body.end()
    signatures = [outer.take(96) for _ in range(outer.number(1))]
    outer.end()
    found["payer"] = base58(signatures[0][:32])
    return found


def record(payload):
    fields = Reader(payload)
    found = {"type": fields.number(1), "time": fields.number(8)}
    if found["type"] == GENESIS:
        found.update(profile=fields.number(1), slot_us=fields.number(8), salt=fields.block(1))
    elif found["type"] == TX:
        found.update(fate=fields.number(1), kind=fields.number(1))
        for name in ("land", "until", "clock", "fee", "serial"):
            found[name] = fields.number(8)
        found["route"] = fields.number(4)
        found.update(error=fields.text(1), collection=fields.text(1), id=fields.text(1))
        found["tx"] = transaction(fields.block(4))
    elif found["type"] != MARK:
        raise Damaged(f"a record of type {found['type']}")
    if fields.number(1) != 0xa5:
        raise Damaged("a record without its end mark")
    fields.end()
    return found


def length_check(length, at):
    return (((length ^ 0x6c726373) * 2654435761) ^ at ^ (at >> 32)) & 0xffffffff


def records(data):
    """Every whole record in order."""
    if data[:16] != MAGIC:
        raise Damaged("not a chain-local ledger")
    at = 16
    while len(data) - at >= 8:
        length, check = struct.unpack_from("<II", data, at)
        if not 16 < length <= 1 << 20 or check != length_check(length, at):
            if any(data[at:]):
                raise Damaged(f"damaged record at byte {at}")
            return
        payload = data[at + 8:at + 8 + length]
        if len(payload) < length:
            return
        sum_ = hashlib.blake2b(struct.pack("<Q", at) + payload[16:], digest_size=16).digest()
        if sum_ != payload[:16]:
            if payload[-1] == 0 and at + 8 + length == len(data):
                return
            raise Damaged(f"damaged record at byte {at}")
        yield record(payload[16:])
        at += 8 + length


def refate(path, fates):
    """Rewrites what became of transactions ({id: DROPPED, ...}), sums and all: a chain that tells another story from now on."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    at = 16
    for entry in list(records(bytes(data))):
        length = struct.unpack_from("<I", data, at)[0]
        if entry["type"] == TX and entry["id"] in fates:
            data[at + 8 + 16 + 9] = fates[entry["id"]]
            content = bytes(data[at + 24:at + 8 + length])
            data[at + 8:at + 24] = hashlib.blake2b(struct.pack("<Q", at) + content, digest_size=16).digest()
        at += 8 + length
    with open(path, "wb") as file:
        file.write(data)


class Ledger:
    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            self.records = list(records(file.read()))
        if self.records and self.records[0]["type"] != GENESIS:
            raise Damaged("the first record is not the genesis")
        self.profile = PROFILES[self.records[0]["profile"]] if self.records else None

    def transactions(self):
        return [entry for entry in self.records if entry["type"] == TX]

    def received(self):
        """Ids of all transactions that reached the chain, whatever became of them; each once."""
        return list(dict.fromkeys(entry["id"] for entry in self.transactions()))

    def effective(self):
        """Ids of those that took effect, or will when their block comes."""
        return [entry["id"] for entry in self.transactions() if entry["fate"] == LANDED]

    def mints(self):
        """Every asset ever made, with its present owner."""
        made = {}
        for entry in self.transactions():
            if entry["fate"] != LANDED:
                continue
            for place, item in enumerate(entry["tx"]["items"]):
                if entry["kind"] == MINT:
                    asset = base58(item["pub"]) if item["pub"] else str(entry["serial"] + place)
                    treasury = self.profile == "hedera-like" or not item["owner"]
                    made.setdefault((entry["collection"], asset), []).append({
                        "tag": item["tag"].hex(), "name": item["name"], "uri": item["uri"],
                        "owner": entry["tx"]["payer"] if treasury else item["owner"],
                        "collection": entry["collection"], "tx": entry["id"], "asset": asset})
                elif entry["kind"] == TRANSFER:
                    for mint in made.get((entry["collection"], item["asset"]), ()):
                        mint["owner"] = item["owner"]
        return [mint for mints in made.values() for mint in mints]


def main():
    ledger = Ledger(sys.argv[1])
    for entry in ledger.transactions():
        print(json.dumps({"tx": entry["id"], "fate": FATES[entry["fate"]], "kind": entry["kind"], "time": entry["time"],
                          "land": entry["land"], "clock": entry["clock"], "fee": entry["fee"], "error": entry["error"]}))
    for mint in ledger.mints():
        print(json.dumps(mint))


if __name__ == "__main__":
    main()
