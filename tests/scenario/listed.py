"""Every script and every table in its folder is listed in meson.build, so that none is forgotten, and every one can be read. The argument is meson.build."""
import pathlib
import re
import sys

from script import Script
from table import Table

listing = pathlib.Path(sys.argv[1])
status = 0
for folder, kind in (("scripts", Script), ("tables", Table)):
    listed = set(re.findall(rf"'{folder}/(.*?)'", listing.read_text()))
    there = {path.name for path in (listing.parent / folder).iterdir()}
    status |= there != listed
    for name in sorted(there - listed):
        print(f"{listing}: {folder}/{name} is not listed")
    for name in sorted(there & listed):
        kind(listing.parent / folder / name)
sys.exit(status)
