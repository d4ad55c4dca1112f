"""Every script in the folder is listed in meson.build, so that none is forgotten, and every one can be read. The argument is meson.build."""
import pathlib
import re
import sys

from script import Script

listing = pathlib.Path(sys.argv[1])
listed = set(re.findall(r"'scripts/(.*?)'", listing.read_text()))
there = {path.name for path in (listing.parent / "scripts").iterdir()}
for name in sorted(there - listed):
    print(f"{listing}: scripts/{name} is not listed")
for name in sorted(there & listed):
    Script(listing.parent / "scripts" / name)
sys.exit(1 if there != listed else 0)
