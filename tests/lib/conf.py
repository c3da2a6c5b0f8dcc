"""Configuration files of tests: one daemon with the embedded plugins. Knows the names of options, nothing of processes."""
import os
import socket

# A chain quick enough for tests: a solana-like block each 20 ms, final after five.
BASE = {"solana-like": {"slot_ms": 20, "finality": 5, "validity": 500}, "hedera-like": {}, "null": {}}
# What a run under faults does to its chain; chances are per mille (plugins/chain-local/README.md). Validity is short, so that
# what never lands is proven dead and tried again within the run.
COMMON = {"latency": "30ms", "jitter": "60ms", "drop_request": 60, "drop_reply": 60, "error_but_land": 60, "ack_and_drop": 60,
          "late_accept": 40, "land_at_deadline": 40, "stale_read": 60, "stale_lag": "1s", "lie": 40, "restart": 40}
FAULTS = {"solana-like": {**COMMON, "validity": 60, "rollback": 60}, "hedera-like": {**COMMON, "valid_duration": "2s"}}


def text(value):
    """As libconfig writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if -2**31 <= value < 2**31 else f"{value}L"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(text(part) for part in value) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def group(options):
    return "{ " + " ".join(f"{name} = {text(value)};" for name, value in options.items()) + " }"


class Config:
    """Groups are dicts of options, to be changed before write(); everything lies in the folder given to the methods."""

    GROUPS = ("log", "api", "commit", "intake", "reconcile")
    STAGES = ("upload", "mint", "confirm", "retry")

    def __init__(self, profile, **groups):
        self.profile = profile
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.top, self.chain, self.store, self.pipeline, self.listen = {}, {}, {}, {}, {}
        self.log, self.api, self.commit, self.intake, self.reconcile = {}, {}, {}, {}, {}
        self.upload, self.mint, self.confirm, self.retry = {}, {}, {}, {}
        for name, options in groups.items():
            getattr(self, name).update(options)

    def path(self, folder):
        return os.path.join(folder, "mintd.cfg")

    def state_dir(self, folder):
        return self.top.get("state_dir", os.path.join(folder, "state"))

    def database(self, folder):
        return os.path.join(self.state_dir(folder), "mintd.db")

    def key_file(self, folder):
        """Where the payer's key lies, or is made; its folder exists afterwards, for its owner alone."""
        keys = os.path.join(self.state_dir(folder), "keys")
        os.makedirs(keys, exist_ok=True)
        for part in (self.state_dir(folder), keys):
            os.chmod(part, 0o700)
        return os.path.join(keys, "payer.key")

    def ledger(self, folder):
        return os.path.join(folder, "chain.ledger")

    def instances(self, folder):
        chain = {"profile": self.profile, "payer": "vault/payer", **BASE[self.profile]}
        if self.profile != "null":
            chain["ledger"] = self.ledger(folder)
        return {
            "books": ("store-sqlite", {"path": self.database(folder), **self.store}),
            "hot": ("cache-memory", {}),
            "files": ("ipfs", {"backend": "local", "store": os.path.join(self.state_dir(folder), "blocks")}),
            "vault": ("signer-file", {"dir": os.path.join(self.state_dir(folder), "keys"), "keys": ["payer"], "generate": True}),
            "local": ("chain-local", {**chain, **self.chain}),
        }

    def write(self, folder):
        os.makedirs(folder, exist_ok=True)
        top = {"name": "test", "deployment": "test", "store": "books", "state_dir": self.state_dir(folder), **self.top}
        lines = [f"{name} = {text(value)};" for name, value in top.items()]
        lines.append(f"listen: {group({'port': self.port, **self.listen})};")
        lines += [f"{name}: {group(getattr(self, name))};" for name in self.GROUPS if getattr(self, name)]
        lines.append("instances: {")
        lines += [f'  {name}: {{ plugin = "{plugin}"; opts: {group(options)}; }};'
                  for name, (plugin, options) in self.instances(folder).items()]
        lines.append("};")
        tickets = {"chain": "local", "uploader": "files", "cache": "hot", **self.pipeline}
        stages = " ".join(f"{name}: {group(getattr(self, name))};" for name in self.STAGES if getattr(self, name))
        lines.append(f"pipelines: {{ tickets: {group(tickets)[:-2]} {stages} }}; }};")
        with open(self.path(folder), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
