#!/usr/bin/env python3
"""The gate of the plugin ABI: every member of every public struct (name, offset, size, type, in order) and every constant.

  layout.py print  HEADER CC            the layout as the compiler sees it
  layout.py check  HEADER CC SNAPSHOT   exit 1 unless the snapshot is a prefix, struct by struct, of the header's layout
  layout.py vary   HEADER old|new OUT   a header of another minor, to build plugins and hosts of other ages with
  layout.py self   HEADER CC            shows on changed copies that the gate catches what it must and passes an append
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FROZEN = {"mintd_str", "mintd_vec"}                         # embedded by value: not even an append is allowed
STRUCT = re.compile(r"\bstruct (mintd_\w+)\s*\{(.*?)\}\s*;", re.S)
ENUM = re.compile(r"\benum\s*\{(.*?)\}\s*;", re.S)


def bare(text):
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    return re.sub(r"^[ \t]*#.*?(?<!\\)$", "", text, flags=re.M | re.S)


def split(text, separator):
    """Splits outside parentheses."""
    parts, depth, last = [], 0, 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if c == separator and depth == 0:
            parts.append(text[last:i])
            last = i + 1
    return [p.strip() for p in parts + [text[last:]] if p.strip()]


def members(body):
    """(name, type) of each member, in order."""
    found = []
    for declaration in split(body, ";"):
        words = " ".join(declaration.split())
        function = re.match(r"(.*?)\(\*\s*(\w+)\)\s*(\(.*\))$", words)
        if function:
            found.append((function[2], f"{function[1].strip()} (*){function[3]}"))
            continue
        first, *rest = split(words, ",")
        base, name = re.match(r"(.*?)(\**\s*\w+)$", first).groups()
        for declarator in [name] + rest:
            stars = declarator.count("*")
            found.append((declarator.replace("*", "").strip(), base.strip() + (" " + "*" * stars if stars else "")))
    return found


def typedefs(text):
    found = [" ".join(t.split()) for t in re.findall(r"\btypedef\s+(.*?);", text, re.S)]
    return [f"{t.split('(')[0].split()[-1]} {t}" for t in found]


def constants(text):
    return [re.match(r"\w+", c)[0] for body in ENUM.findall(text) for c in split(body, ",")]


def layout(header, cc):
    text = bare(Path(header).read_text())
    lines = ['#include "mintd/plugin.h"', "#include <stdio.h>", "int main(void) {"]
    for struct, body in STRUCT.findall(text):
        lines.append(f'printf("{struct} size %zu\\n", sizeof(struct {struct}));' if struct in FROZEN else "")
        for name, kind in members(body):
            lines.append(f'printf("{struct} {name} %zu %zu {kind}\\n", offsetof(struct {struct}, {name}), '
                         f"sizeof(((struct {struct} *)0)->{name}));")
    for name in constants(text):
        lines.append(f'printf("constant {name} %lld\\n", (long long){name});')
    lines += ['printf("constant MINTD_MAGIC %lld\\n", (long long)MINTD_MAGIC);', "return 0; }"]
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "layout.c"), Path(folder, "layout")
        source.write_text("\n".join(lines))
        include = Path(header).parent.parent
        subprocess.run([cc, "-std=c11", f"-I{include}", str(source), "-o", str(program)], check=True)
        run = subprocess.run([str(program)], check=True, capture_output=True, text=True)
    return run.stdout.splitlines() + typedefs(text)


def by_struct(lines):
    groups = {}
    for line in lines:
        groups.setdefault(line.split()[0], []).append(line)
    return groups


def complaints(old, new):
    """What of the old layout the new one does not keep."""
    now, bad = by_struct(new), []
    for name, was in by_struct(old).items():
        have = now.get(name, [])
        if name == "constant":
            free = ("constant MINTD_ABI_MINOR ", "constant MINTD_DB_COUNT ")     # one counts appends; the other only grows in use
            bad += [f"changed: {c}" for c in was if c not in have and not c.startswith(free[0])]
            continue
        for i, line in enumerate(was):
            if i >= len(have) or have[i] != line:
                bad.append(f"was: {line}; is: {have[i] if i < len(have) else 'gone'}")
                break
        if name in FROZEN and len(have) != len(was):
            bad.append(f"{name} is frozen and has grown")
    return bad


def check(header, cc, snapshot):
    old = [line for line in Path(snapshot).read_text().splitlines() if line and not line.startswith("#")]
    new = layout(header, cc)
    bad = complaints(old, new)
    for line in bad:
        print(f"plugin.h breaks the ABI: {line}")
    if bad:
        print("append instead, or raise the major; before the freeze (v0) write a new snapshot with `layout.py print`")
    grown = [line for line in new if line not in old and not line.startswith("constant MINTD_ABI_MINOR")]
    for line in grown if not bad else []:
        print(f"not in the snapshot yet: {line}")
    print(f"{len(by_struct(new))} groups, {len(new)} lines compared")
    return 1 if bad or grown else 0


def vary(header, age, out):
    """new: one 64-bit member appended to every sized struct and row. old: rows without their last members."""
    text = Path(header).read_text()
    if age == "new":
        def append(match):
            if match[1] in FROZEN:
                return match[0]
            return match[0][:match[0].rindex("}")] + " uint64_t added; };"
        text = re.sub(r"\bstruct (mintd_\w+)\s*\{(?:[^{}])*\}\s*;", append, text)
        text = text.replace("MINTD_ABI_MINOR = 0", "MINTD_ABI_MINOR = 1")
    else:
        for gone in ["; uint32_t connected, reserved", ", msg; };", " struct mintd_str next;", "\n    int64_t min, max; uint64_t flags;"]:
            assert text.count(gone) >= 1, gone
        text = text.replace("uint64_t keys, bytes, hits, misses; uint32_t connected, reserved;", "uint64_t keys, bytes, hits, misses;")
        text = text.replace("uint64_t retry_ms; struct mintd_str slug, msg; };", "uint64_t retry_ms; struct mintd_str slug; };")
        text = text.replace("struct mintd_vec rows; struct mintd_str next; };", "struct mintd_vec rows; };")
        text = text.replace("int64_t min, max; uint64_t flags; };", "int64_t min, max; };")
        text = re.sub(r"\n[^\n]*opt_error\)[^\n]*", "", text)
    target = Path(out, "mintd")
    target.mkdir(parents=True, exist_ok=True)
    Path(target, "plugin.h").write_text(text)
    return 0


def self_test(header, cc):
    text = Path(header).read_text()
    old = layout(header, cc)
    caught = {
        "two members swapped": ("uint64_t keys, bytes, hits, misses;", "uint64_t bytes, keys, hits, misses;"),
        "a type changed": ("struct mintd_cost { struct mintd_str what; uint64_t amount;", "struct mintd_cost { struct mintd_str what; int64_t amount;"),
        "a member in the middle": ("struct mintd_sig { const struct mintd_outcome *why; ", "struct mintd_sig { const struct mintd_outcome *why; uint64_t more; "),
        "a member removed": ("struct mintd_purse { struct mintd_str account, role, route;", "struct mintd_purse { struct mintd_str account, role;"),
        "an op table reordered": ("mintd_op_fn *get, *put, *del, *stats;", "mintd_op_fn *put, *get, *del, *stats;"),
        "a host function with another signature": ("int      (*canceled)(struct mintd_op *);", "int      (*canceled)(struct mintd_op *, int);"),
        "a constant renumbered": ("MINTD_AMBIGUOUS = 5", "MINTD_AMBIGUOUS = 6"),
        "a frozen struct grown": ("struct mintd_str { const char *p; size_t n; };", "struct mintd_str { const char *p; size_t n; size_t m; };"),
        "a callback with another signature": ("typedef void mintd_fn(void *arg);", "typedef int mintd_fn(void *arg);"),
        "a struct gone": ("struct mintd_slug { const char *slug, *help; };", "struct mintd_slog { const char *slug, *help; };"),
    }
    passes = {
        "an appended member": ("uint64_t keys, bytes, hits, misses; uint32_t connected, reserved;", "uint64_t keys, bytes, hits, misses; uint32_t connected, reserved; uint64_t evicted;"),
        "an appended op and minor": ("mintd_op_fn *get, *put, *del, *stats;", "mintd_op_fn *get, *put, *del, *stats, *more;"),
        "an appended constant": ("MINTD_FETCHED = 4 }", "MINTD_FETCHED = 4, MINTD_BEYOND = 5 }"),
        "a comment": ("#ifndef MINTD_PLUGIN_H", "/* struct mintd_nothing { int x; }; */\n#ifndef MINTD_PLUGIN_H"),
    }
    failed = 0
    for what, (before, after) in {**caught, **passes}.items():
        assert text.count(before) == 1, f"the header has no longer exactly one: {before}"
        with tempfile.TemporaryDirectory() as folder:
            changed = Path(folder, "mintd", "plugin.h")
            changed.parent.mkdir()
            changed.write_text(text.replace(before, after))
            bad = complaints(old, layout(changed, cc))
        right = bool(bad) == (what in caught)
        failed += not right
        print(f"{'ok' if right else 'WRONG'}: {what}: {bad[0] if bad else 'passes'}")
    return 1 if failed else 0


def main(argv):
    command, header, *rest = argv
    if command == "print":
        print("\n".join(layout(header, rest[0])))
        return 0
    return {"check": check, "vary": vary, "self": self_test}[command](header, *rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
