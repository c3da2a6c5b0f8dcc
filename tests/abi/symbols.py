#!/usr/bin/env python3
"""Every built plugin exports one symbol, mintd_plugin_v0, carries no RPATH and links nothing of mintd: symbols.py FOLDER..."""
import subprocess
import sys
from pathlib import Path


def out(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def faults(plugin):
    exported = [line.split()[-1] for line in out("nm", "-D", "--defined-only", str(plugin)).splitlines()]
    dynamic = out("readelf", "-dW", str(plugin))
    # a sanitizer adds its own names to every object of its builds
    exported = [name for name in exported if not name.startswith(("__asan", "__odr_asan", "__ubsan", "__tsan", "__sanitizer"))]
    found = []
    if exported != ["mintd_plugin_v0"]:
        found.append(f"exports {', '.join(exported) or 'nothing'}")
    if "(RPATH)" in dynamic or "(RUNPATH)" in dynamic:
        found.append("has an RPATH")
    undefined = [line.split()[-1] for line in out("nm", "-D", "--undefined-only", str(plugin)).splitlines()]
    if any(name.startswith("mintd_") for name in undefined):
        found.append("wants symbols of mintd")
    return found


def main(folders):
    plugins = [p for folder in folders for p in sorted(Path(folder).glob("*.so"))]
    bad = 0
    for plugin in plugins:
        found = faults(plugin)
        bad += bool(found)
        print(f"{plugin.name}: {'; '.join(found) or 'one symbol'}")
    if not plugins:
        print(f"no plugin in {', '.join(folders)}: nothing was checked")
    return 1 if bad or not plugins else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
