#!/usr/bin/python3
"""The shell scripts, by shellcheck.

usage: shell.py [project directory]

Everything that begins as a script of bash or sh is looked at, and tools/common.sh, which is sourced."""
import os
import shutil
import subprocess
import sys

import source

SKIPPED = ('build', '.git')


def scripts(base):
    for directory, folders, names in os.walk(base):
        folders[:] = [f for f in folders if not (directory == base and f.startswith(SKIPPED)) and f != 'node_modules']
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith('.sh'):
                yield path
            elif '.' not in name and os.access(path, os.X_OK) and not os.path.islink(path):
                with open(path, 'rb') as f:
                    if f.readline(64).split(b'/')[-1].strip() in (b'sh', b'bash', b'env bash'):
                        yield path


def main():
    base = source.root()
    if shutil.which('shellcheck') is None:
        print('SKIPPED: shellcheck is not installed')
        sys.exit(77)
    paths = sorted(os.path.relpath(path, base) for path in scripts(base))
    run = subprocess.run(['shellcheck', '-x', '--severity=warning', '--format=gcc', '--source-path=' + base, *paths], cwd=base, capture_output=True, text=True)
    source.finish('shell', (run.stdout + run.stderr).splitlines(), len(paths))


main()
