#!/usr/bin/env python3
"""Writes the schema migrations as a C source: embed.py OUTPUT.c 0001_x.sql 0002_y.sql ...

The number in a file's name is the schema version the migration leads to. They must run from 1 without a gap, and every .sql file beside
them must be given, so that one forgotten in meson.build is an error of the build and not of the service.
"""
import pathlib
import re
import sys


def main():
    out, *names = sys.argv[1:]
    paths = sorted(map(pathlib.Path, names), key=lambda p: p.name)
    beside = {p.name for path in paths for p in path.parent.glob("*.sql")}
    forgotten = beside - {p.name for p in paths}
    if forgotten:
        sys.exit(f"embed.py: not listed in meson.build: {', '.join(sorted(forgotten))}")
    rows = []
    for expected, path in enumerate(paths, 1):
        m = re.fullmatch(r"(\d{4})_(\w+)\.sql", path.name)
        if not m or int(m[1]) != expected:
            sys.exit(f"embed.py: {path.name}: expected {expected:04}_<name>.sql")
        lines = []
        for line in path.read_text(encoding="ascii").splitlines():
            lines.append('     "' + line.replace("\\", "\\\\").replace('"', '\\"') + '\\n"\n')
        rows.append(f'    {{"{m[2]}",\n{"".join(lines)}    }},\n')
    with open(out, "w", encoding="ascii") as f:
        f.write("/* Made by embed.py from the .sql files; do not edit. */\n#include \"store/sqlite.h\"\n\n")
        f.write("const struct sqlite_migration sqlite_migrations[] = {\n" + "".join(rows) + "};\n")
        f.write(f"const unsigned sqlite_n_migrations = {len(rows)};\n")


main()
