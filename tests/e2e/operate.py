#!/usr/bin/python3
"""The routes of an operator: configuration, log level, plugins, database, doctor. What they show, what they change, what they refuse."""
import json
import os
import re
import sqlite3
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from conf import Config  # noqa: E402
from mintd import Api, Daemon, parallel, run, tickets  # noqa: E402
from tap import check, equal, main, matches, test, until  # noqa: E402

READS = ("/v1/config", "/v1/log", "/v1/plugins", "/v1/plugins/vault", "/v1/plugins/books", "/v1/plugins/local", "/v1/database", "/v1/doctor")
SECRET = "correct-horse-battery-staple-4711"


def options(api):
    answer = api.get("/v1/config")
    equal(answer.status, 200)
    return {option["name"]: option for option in answer.json["options"]}


def verdicts(api):
    answer = api.get("/v1/doctor")
    equal(answer.status, 200)
    return {each["name"]: each for each in answer.json["checks"]}, answer.json


def refused(answer, status, code, pointer=None):
    equal((answer.status, answer.code), (status, code), answer)
    matches(answer.headers["Content-Type"], "application/problem\\+json")
    if pointer is not None:
        equal(answer.json["errors"][0]["pointer"], pointer)


@test
def every_effective_value_is_shown_with_its_origin(folder):
    config = Config("solana-like", api={"sync_items": 77}, top={"default_pipeline": "tickets"})
    with Daemon(folder, config).start(env={"BATCH_DELAY_MS": "123"}) as mintd:
        found = options(mintd.api())
        path = config.path(folder)
        equal(found["api.sync_items"]["value"], 77)
        matches(found["api.sync_items"]["origin"], re.escape(path) + r":\d+$")
        equal((found["api.max_items"]["value"], found["api.max_items"]["origin"]), (100000, "default"))
        equal(found["pipelines.tickets.mint.batch_delay"]["origin"], "environment BATCH_DELAY_MS")
        equal(found["instances.books.plugin"]["value"], "store-sqlite")
        equal(found["instances.books.opts.path"]["value"], config.database(folder))
        equal(found["instances.books.opts.verify"], {"name": "instances.books.opts.verify", "value": False, "origin": "default"})
        equal(found["instances.vault.opts.keys"]["value"], ["payer"])
        printed = run("-T", "-c", path, env={"BATCH_DELAY_MS": "123"}).stdout
        for name, option in found.items():
            if not name.startswith("instances.") and not isinstance(option["value"], (list, bool)):
                matches(printed, rf"{name.rsplit('.', 1)[-1]} = \"?{re.escape(str(option['value']))}", name)


@test
def a_secret_is_shown_nowhere(folder):
    config = Config("solana-like", log={"level": "debug"}, api={"admin_key": f"file:{folder}/secret"})
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "secret"), "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(SECRET)
    mintd = Daemon(folder, config)
    with mintd:
        mintd.start()

        api = Api(mintd.port, SECRET)
        equal(api.mint("venue-1", tickets("t", 3)).status, 200)
        texts = [api.get(path) for path in READS]
        texts += [api.call("POST", "/v1/config/check"), api.call("POST", "/v1/config/reload"), api.call("PUT", "/v1/log", b'{"level": "debug"}'),
                  api.get("/metrics")]
        for answer in texts:
            equal(answer.status, 200, answer)
            check(SECRET not in answer.text, "the admin key is in", answer)
        equal({option["name"]: option["value"] for option in texts[0].json["options"]}["api.admin_key"], "***")
        with open(os.path.join(mintd.state_dir, "keys", "payer.key"), encoding="ascii") as file:
            key = file.read().strip()
        check(len(key) == 64 and not any(key in answer.text for answer in texts), "the payer's key is shown")
        check(SECRET not in mintd.log and key not in mintd.log, "a secret is in the log")


@test
def a_check_names_each_mistake_by_file_and_line_and_changes_nothing(folder):
    config = Config("solana-like", api={"sync_items": 10})
    with Daemon(folder, config).start() as mintd:
        api, path = mintd.api(), config.path(folder)
        equal({name: api.call("POST", "/v1/config/check").json[name] for name in ("valid", "errors", "needsRestart")},
              {"valid": True, "errors": [], "needsRestart": []})
        config.api.update(sync_items=20, max_bodyy="1 MiB")
        config.chain["slot_ms"] = "fast"
        config.write(folder)
        answer = api.call("POST", "/v1/config/check", b"{}")
        equal((answer.status, answer.json["valid"], answer.json["file"]), (200, False, path))
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        unknown = [error for error in answer.json["errors"] if "max_bodyy" in error["message"]]
        equal(len(unknown), 1, answer.json)
        equal(unknown[0]["file"], path)
        check("max_bodyy" in lines[unknown[0]["line"] - 1], unknown)
        matches(unknown[0]["message"], 'did you mean "max_body"')
        equal(options(api)["api.sync_items"]["value"], 10)
        del config.api["max_bodyy"]
        config.write(folder)
        errors = api.call("POST", "/v1/config/check").json["errors"]
        check(errors and any("slot_ms" in error["message"] and error["line"] for error in errors), "the plugin's own option", errors)


@test
def a_check_says_what_only_a_restart_can_follow(folder):
    config = Config("solana-like")
    with Daemon(folder, config).start() as mintd:
        api = mintd.api()
        config.top["deployment"] = "another"
        config.store["path"] = os.path.join(folder, "elsewhere.db")
        config.write(folder)
        answer = api.call("POST", "/v1/config/check").json
        equal((answer["valid"], answer["errors"]), (True, []))
        said = " ".join(each["message"] for each in answer["needsRestart"])
        matches(said, "deployment")
        matches(said, "path")
        equal(api.mint("venue-1", tickets("t", 2)).status, 200, "it goes on as before")


@test
def a_reload_by_request_is_whole_or_not_at_all(folder):
    config = Config("solana-like", api={"sync_items": 10})
    with Daemon(folder, config).start() as mintd:
        api = mintd.api()
        config.api["sync_items"] = 20
        config.write(folder)
        answer = api.call("POST", "/v1/config/reload")
        equal((answer.status, answer.json["reloaded"], answer.json["pipelines"]), (200, True, 1))
        equal(options(api)["api.sync_items"]["value"], 20)
        matches(mintd.log, "reloaded .*mintd.cfg")
        config.api.update(sync_items=30, rate=-5)
        config.write(folder)
        answer = api.call("POST", "/v1/config/reload")
        refused(answer, 422, "config.invalid")
        matches(answer.json["errors"][0]["detail"], r"mintd\.cfg:\d+: .*rate")
        check(answer.json["mistakes"][0]["line"] > 0 and "rate" in answer.json["mistakes"][0]["message"], answer.json)
        equal(options(api)["api.sync_items"]["value"], 20, "nothing of it holds")
        config.api.update(sync_items=30, rate=0)
        config.top["name"] = "someone-else"
        config.write(folder)
        refused(api.call("POST", "/v1/config/reload"), 422, "config.invalid")
        equal(options(api)["api.sync_items"]["value"], 20)


@test
def reloads_while_minting_lose_nothing(folder):
    config = Config("solana-like")
    with Daemon(folder, config).start() as mintd:
        stop = threading.Event()

        def reloads():
            count = 0
            while not stop.is_set():
                config.upload["batch"] = 50 + count % 2
                config.write(folder)
                equal(mintd.api().call("POST", "/v1/config/reload").status, 200)
                count += 1
            return count

        with_reloads = []
        thread = threading.Thread(target=lambda: with_reloads.append(reloads()))
        thread.start()
        answers = parallel(lambda n: mintd.api().mint("venue-1", tickets(f"r{n}", 20)), range(6))
        stop.set()
        thread.join()
        equal([answer.status for answer in answers], [200] * 6)
        check(with_reloads and with_reloads[0] > 3, "only", with_reloads, "reloads")


@test
def the_log_s_level_changes_at_run_time_until_the_next_reload(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        equal(api.get("/v1/log").json, {"level": "info", "configured": "info", "format": "text"})
        check(" debug " not in mintd.log)
        answer = api.call("PUT", "/v1/log", b'{"level": "debug"}')
        equal((answer.status, answer.json["level"], answer.json["configured"]), (200, "debug", "info"))
        equal(api.mint("venue-1", tickets("t", 2)).status, 200)
        matches(mintd.log, " debug ")
        for body, status, code, pointer in ((b'{"level": "loud"}', 422, "field.value", "/level"), (b'{"level": 3}', 422, "field.type", "/level"),
                                            (b"{}", 422, "field.required", "/level"), (b'{"level": "info", "for": "1h"}', 422, "field.unknown", "/for"),
                                            (b'{"level": "info"', 400, "json.end", None)):
            answer = api.call("PUT", "/v1/log", body)
            equal(answer.status, status, body, answer)
            if pointer:
                refused(answer, status, code, pointer)
            equal(api.get("/v1/log").json["level"], "debug", "unchanged by", body)
        equal(api.call("POST", "/v1/config/reload").status, 200)
        equal(api.get("/v1/log").json["level"], "info")
        equal(api.call("PUT", "/v1/log", b'{"level": "error"}').status, 200)
        before = len(mintd.log)
        equal(api.get("/v1/batches").status, 200)
        equal(mintd.log[before:], "", "no access line at level error")


@test
def plugins_are_listed_with_their_state(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        found = {each["name"]: each for each in api.get("/v1/plugins").json["plugins"]}
        equal({name: (each["plugin"], each["kind"], each["state"]) for name, each in found.items()},
              {"books": ("store-sqlite", "store", "ready"), "hot": ("cache-memory", "cache", "ready"), "files": ("ipfs", "uploader", "ready"),
               "vault": ("signer-file", "signer", "ready"), "local": ("chain-local", "chain", "ready")})
        matches(found["books"]["facts"]["version"], r"^3\.")
        one = api.get("/v1/plugins/local").json
        described = json.loads(run("--describe", "chain-local", "--json").stdout)
        equal({name: value for name, value in one.items() if name != "instance"}, described)
        equal((one["instance"]["name"], one["instance"]["state"]), ("local", "ready"))
        refused(api.get("/v1/plugins/nobody"), 404, "plugin.unknown")


@test
def an_instance_that_cannot_start_says_why(folder):
    config = Config("solana-like")
    with Daemon(folder, config).start() as mintd:
        api = mintd.api()
        config.write(folder)
        with open(config.path(folder), encoding="utf-8") as file:
            text = file.read()
        extra = f'  spare: {{ plugin = "chain-local"; opts: {{ payer = "vault/payer"; ledger = "{folder}/missing/ledger"; }}; }};\n'
        with open(config.path(folder), "w", encoding="utf-8") as file:
            file.write(text.replace("instances: {\n", "instances: {\n" + extra))
        equal(api.call("POST", "/v1/config/reload").status, 200)

        def broken():
            each = api.get("/v1/plugins/spare").json["instance"]
            return each if each["state"] != "ready" and each.get("why", "not started yet") != "not started yet" else None

        matches(until(broken, 10, "the reason")["why"], "missing/ledger")
        found, whole = verdicts(api)
        equal((found["plugin.spare"]["verdict"], whole["verdict"]), ("fail", "fail"))
        matches(found["plugin.spare"]["detail"], "missing/ledger")
        check(found["plugin.spare"]["advice"])
        equal(api.mint("venue-1", tickets("t", 2)).status, 200, "the others work")


@test
def the_database_is_shown_with_schema_and_slots(folder):
    config = Config("solana-like", store={"backup": os.path.join(folder, "copy.db")})
    with Daemon(folder, config).start() as mintd:
        first = mintd.api().get("/v1/database").json
        equal(first["schema"]["now"], first["schema"]["wanted"])
        check(first["schema"]["now"] >= 1 and re.match("^[0-9a-f]{32}$", first["identity"]) and first["bytes"] + first["logBytes"] > 4096, first)
        equal((first["backup"], first["copying"], first["store"]["name"]), (os.path.join(folder, "copy.db"), False, "books"))
        equal([(slot["holder"], slot["epoch"], slot["live"]) for slot in first["slots"]], [("test", 1, True)])
        mintd.kill()
        mintd.start()
        again = mintd.api().get("/v1/database").json
        equal((again["identity"], again["slots"][0]["epoch"]), (first["identity"], 2))


@test
def a_copy_is_written_while_minting_goes_on(folder):
    copy = os.path.join(folder, "copy.db")
    with Daemon(folder, Config("solana-like", store={"backup": copy})).start() as mintd:
        equal(mintd.api().mint("venue-1", tickets("before", 40)).status, 200)
        seen = []

        def minting(n):
            answer = mintd.api().mint("venue-1", tickets(f"during{n}", 40))
            seen.append(answer.status)

        threads = [threading.Thread(target=minting, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        answer = mintd.api().call("POST", "/v1/database/backup")
        for thread in threads:
            thread.join()
        equal((answer.status, seen), (200, [200] * 3), answer)
        equal((answer.json["file"], answer.json["bytes"]), (copy, os.path.getsize(copy)))
        with sqlite3.connect(copy) as db:
            equal(db.execute("PRAGMA integrity_check").fetchone()[0], "ok")
            check(db.execute("SELECT count(*) FROM items").fetchone()[0] >= 40)
        equal(os.stat(copy).st_mode & 0o077, 0)


@test
def a_copy_that_cannot_be_made_says_what_to_do(folder):
    config = Config("solana-like")
    with Daemon(folder, config).start() as mintd:
        answer = mintd.api().call("POST", "/v1/database/backup")
        refused(answer, 409, "store.no_backup")
        matches(answer.json["detail"], "set the option backup")
        refused(mintd.api().call("POST", "/v1/database/backup", b'{"to": "/tmp/x"}'), 422, "field.unknown", "/to")
    config.store["backup"] = os.path.join(folder, "no", "such", "folder.db")
    config.write(folder)
    with mintd.start():
        answer = mintd.api().call("POST", "/v1/database/backup")
        refused(answer, 503, "store.backup")
        check(answer.headers["Retry-After"] and "no/such" in answer.json["detail"], answer)
        equal(mintd.api().get("/v1/database").json["copying"], False)
        equal(mintd.api().mint("venue-1", tickets("t", 2)).status, 200)


@test
def one_copy_at_a_time(folder):
    with Daemon(folder, Config("null", store={"backup": os.path.join(folder, "copy.db")})).start() as mintd:
        equal(mintd.api(120).mint("venue-1", tickets("t", 900, pad=2000)).status, 200)

        def two():
            return sorted((answer.status, answer.code) for answer in
                          parallel(lambda _: mintd.api().call("POST", "/v1/database/backup"), range(4)))

        def met():
            answers = two()
            check(all(status in (200, 409) for status, _ in answers) and answers[0][0] == 200, answers)
            return (409, "database.copying") in answers

        until(met, 20, "two copies at once")


@test
def the_doctor_finds_what_is_wrong_and_says_what_to_do(folder):
    config = Config("solana-like")
    with Daemon(folder, config).start() as mintd:
        api = mintd.api()
        found, whole = verdicts(api)
        for name in ("limits.files", "limits.memlock", "limits.core", "clock", "state_dir", "admin.key", "disk", "config", "work", "store.books",
                     "chain.local", *(f"plugin.{each}" for each in ("books", "hot", "files", "vault", "local"))):
            check(name in found and found[name]["detail"], name, "is not looked at")
        bad = {name: each for name, each in found.items() if each["verdict"] == "fail"}
        equal(bad, {})
        equal(sum(whole["summary"].values()), len(found))
        for name in ("mintd", "libmicrohttpd", "libsodium", "openssl", "loop"):
            check(whole["versions"][name], name)
        matches(run("--version").stdout, re.escape(whole["versions"]["mintd"]))
        os.chmod(mintd.state_dir, 0o755)
        os.chmod(os.path.join(mintd.state_dir, "admin.key"), 0o644)
        config.api["sync_itemz"] = 5
        config.write(folder)
        found, whole = verdicts(api)
        equal((found["state_dir"]["verdict"], found["admin.key"]["verdict"], found["config"]["verdict"], whole["verdict"]),
              ("warn", "fail", "fail", "fail"))
        for name, word in (("state_dir", "chmod 0700"), ("admin.key", "chmod 0600"), ("config", "correct the files")):
            matches(found[name]["advice"], word)
        matches(found["config"]["detail"], r"mintd\.cfg:\d+")
        os.chmod(mintd.state_dir, 0o777)
        equal(verdicts(api)[0]["state_dir"]["verdict"], "fail")
        os.chmod(mintd.state_dir, 0o700)
        os.chmod(os.path.join(mintd.state_dir, "admin.key"), 0o600)
        del config.api["sync_itemz"]
        config.top["deployment"] = "another"
        config.write(folder)
        found, _ = verdicts(api)
        equal((found["state_dir"]["verdict"], found["admin.key"]["verdict"], found["config"]["verdict"]), ("ok", "ok", "warn"))


@test
def the_doctor_sees_a_chain_that_is_down(folder):
    with Daemon(folder, Config("solana-like", chain={"restart": 1000})).start() as mintd:
        api = mintd.api()
        until(lambda: verdicts(api)[0]["chain.local"]["verdict"] != "ok", 10, "sick endpoints are seen")


@test
def the_doctor_shows_a_wallet_that_runs_dry(folder):
    config = Config("hedera-like", chain={"balance": "3 loc"}, pipeline={"min_balance": "3.5"})
    with Daemon(folder, config).start() as mintd:
        api = mintd.api()
        dry = until(lambda: next((each for name, each in verdicts(api)[0].items() if name.startswith("wallet.local.") and each["verdict"] == "fail"), None),
                    10, "the wallet")
        matches(dry["detail"], "3 LOC .*3.5 are required")
        matches(dry["advice"], "send coins")
        config.pipeline["min_balance"] = "1"
        config.write(folder)
        equal(api.call("POST", "/v1/config/reload").status, 200)
        until(lambda: verdicts(api)[1]["verdict"] in ("ok", "warn"), 10, "it is enough now")


@test
def nobody_operates_without_a_key_or_with_what_is_not_asked_for(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        calls = [("GET", path) for path in READS] + [("POST", "/v1/config/check"), ("POST", "/v1/config/reload"), ("PUT", "/v1/log"),
                                                     ("POST", "/v1/database/backup")]
        for method, path in calls:
            equal(api.call(method, path, key=None).status, 401, method, path)
            refused(api.call(method, path + "?surplus=1"), 400, "query.unknown", "surplus")
            equal(api.call("DELETE", path).status, 405, path)
            if method != "GET":
                refused(api.call(method, path, b'{"surplus": 1}'), 422, "field.unknown", "/surplus")
                equal(api.call(method, path, b"[]").status, 422, path)
                equal(api.call(method, path, b"x" * 70000).status, 413, path)
                equal(api.call(method, path, b"{}", headers={"Content-Type": "text/plain"}).status, 415, path)
            else:
                equal(api.call(method, path, b"{}").code, "body.unexpected", path)
        equal(api.get("/v1/log").json["level"], "info")


if __name__ == "__main__":
    sys.exit(main())
