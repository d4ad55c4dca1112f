#!/usr/bin/python3
"""Every header compiles alone, and twice.

usage: headers.py [project directory] [--cc=COMPILER]

A header that needs another one included before it makes the order of includes matter; one without a guard can be included once only."""
import concurrent.futures
import os
import shlex
import subprocess
import sys

import source

FLAGS = ['-std=gnu17', '-D_GNU_SOURCE', '-DSIGNET_VERSION="lint"', '-Wall', '-Wextra', '-Werror', '-fsyntax-only', '-x', 'c', '-']


def compiler():
    for argument in sys.argv[1:]:
        if argument.startswith('--cc='):
            return shlex.split(argument[len('--cc='):])
    return shlex.split(os.environ.get('CC', 'cc'))


def check(base, path):
    directory = os.path.dirname(path)
    # -iquote for its own folder: -I would let features.h there hide the C library's <features.h>.
    include = ['-Isrc', '-Isdk/include', '-iquote', '.', '-iquote', directory]
    text = f'#include "{path}"\n#include "{path}"\n'
    done = subprocess.run(compiler() + include + FLAGS, input=text, cwd=base, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return []
    first_lines = '\n'.join(done.stderr.splitlines()[:12])
    return [f'{path} does not compile alone:\n{first_lines}']


def main():
    base = source.root()
    paths = source.files(base, ['src', 'sdk', 'servers', 'bench'], ('.h',))
    problems = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lambda path: check(base, path), paths):
            problems += found
    source.finish('headers', problems, len(paths))


main()
