"""The daemon's routes, read from the table that it is built with."""
import os
import re

from mintd import ROOT

LINE = re.compile(r'\{ "(\w+)", +"([^"]+)", +"(\w+)", +SCOPE_(\w+), +([\w| ]+), *(\w+|"[^"]*")')
SCOPES = ("OPEN", "READ", "MINT", "ADMIN")


class Route:
    def __init__(self, method, path, name, scope, flags, query):
        self.method, self.path, self.name, self.scope = method, path, name, scope
        self.flags = set(flags.split(" | ")) - {"0"}
        self.query = [] if query == "NULL" else query.strip('"').split()

    def at(self, *values):
        """The path with its open places filled; the last value repeats."""
        path, values = self.path, list(values) or ["x"]
        while "{}" in path:
            path = path.replace("{}", values.pop(0) if len(values) > 1 else values[0], 1)
        return path

    def __repr__(self):
        return f"{self.method} {self.path}"


def routes():
    with open(os.path.join(ROOT, "core", "api", "routes.c"), encoding="utf-8") as file:
        text = file.read()
    table = text[text.index("api_routes[] = {"):text.index("api_n_routes =")]
    names = dict(re.findall(r'^#define (\w+) ("[^"]*")$', text, re.M))
    found = [Route(*match, names.get(query, query)) for *match, query in LINE.findall(table)]
    if len(found) != len(re.findall(r"^ *\{ ", table, re.M)):
        raise AssertionError("routes.c has lines that are not understood here")
    return found
