#!/usr/bin/python3
"""Makes tests/vectors/signer.json: signatures of RFC 8032 and child keys, computed with nothing but the standard library."""
import hashlib
import json

P, D, BY = 2**255 - 19, -121665 * pow(121666, -1, 2**255 - 19), 4 * pow(5, -1, 2**255 - 19)
BX = 15112221349535400772501151409588531511454012693041857206046113283949847762202


def add(a, b):
    k = D * a[0] * b[0] * a[1] * b[1]
    return ((a[0] * b[1] + b[0] * a[1]) * pow(1 + k, -1, P) % P, (a[1] * b[1] + a[0] * b[0]) * pow(1 - k, -1, P) % P)


def public(seed):
    k, point, out = hashlib.sha512(seed).digest()[:32], (BX, BY), (0, 1)
    k = int.from_bytes(k, "little") & ((1 << 254) - 8) | 1 << 254
    while k:
        out, point, k = add(out, point) if k & 1 else out, add(point, point), k >> 1
    return (out[1] | (out[0] & 1) << 255).to_bytes(32, "little")


def child(seed, scheme, tag):
    return hashlib.blake2b(b"mintd item key v0" + scheme.to_bytes(4, "little") + tag, key=seed, digest_size=32).digest()


RFC8032 = (
    ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
    ("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
     "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"))
TAGS = (b"\x00", b"ticket-1", hashlib.sha256(b"deployment/venue/ticket").digest(), bytes(range(256)), b"x" * 1000)

print(json.dumps({
    "rfc8032": [{"seed": seed, "pub": public(bytes.fromhex(seed)).hex(), "msg": msg, "sig": sig} for seed, msg, sig in RFC8032],
    "children": [{"parent_seed": seed, "scheme": 1, "tag": tag.hex(), "child_seed": child(bytes.fromhex(seed), 1, tag).hex(),
                  "child_pub": public(child(bytes.fromhex(seed), 1, tag)).hex()} for seed, _, _ in RFC8032[:2] for tag in TAGS],
}, indent=1))
