#!/usr/bin/python3
"""docs/spec-coverage.md is true as far as a program can see: each sentence of the specification has a number, and a proof: tests that exist and are run, or a
deviation that docs/deviations.md lists. Whether a test proves its sentence is for a reader to see.

usage: coverage.py [project directory]"""
import os
import re
import sys

import source

PAGE = 'docs/spec-coverage.md'
FOLDERS = ('unit', 'contract', 'scenario', 'system', 'sim', 'fault')


def is_there(base, proof):
    """None, or what is wrong with a `file::test` or a script."""
    path, _, test = proof.partition('::')
    full = os.path.join('tests', path)
    if not os.path.exists(os.path.join(base, full)):
        return f'there is no {full}'
    meson = source.read(base, os.path.join(os.path.dirname(full.replace('/scripts/', '/')), 'meson.build'))
    stem = os.path.splitext(os.path.basename(path))[0]
    if os.path.basename(path) not in meson and not re.search(rf"'{stem.removeprefix('test_').replace('_', '[-_]')}'", meson):
        return f'{full} is not played: tests/{path.split("/")[0]}/meson.build does not name it'
    if not test:
        return None if path.endswith('.txt') else f'{full}: which test of it?'
    text = source.read(base, full)
    if path.endswith('.py'):
        return None if re.search(rf'^def {test}\(', text, re.M) else f'{full} has no {test}()'
    return None if f'cmocka_unit_test({test})' in text or f'cmocka_unit_test_setup_teardown({test}' in text else f'{full} does not run {test}()'


def check_row(base, number, proof, deviations):
    tests = [t for t in re.findall(r'`([^`]+)`', proof) if t.startswith(FOLDERS)]
    differs = re.findall(r'differs: "([^"]+)"', proof)
    if not tests and not differs:
        return [f'{PAGE}: {number} has neither a test nor a deviation']
    problems = [f'{PAGE}: {number}: {p}' for p in (is_there(base, t) for t in tests) if p is not None]
    return problems + [f'{PAGE}: {number}: docs/deviations.md does not have "{d}"' for d in differs if d not in deviations]


def main():
    base = source.root()
    deviations, problems, last = source.read(base, 'docs/deviations.md'), [], {}
    rows = re.findall(r'^\| (\w+)\.(\d+) \| (.*?) \| (.*) \|$', source.read(base, PAGE), re.M)
    for chapter, number, _, proof in rows:
        if int(number) != last.get(chapter, 0) + 1:
            problems.append(f'{PAGE}: {chapter}.{number} stands after {chapter}.{last.get(chapter, 0)}')
        last[chapter] = int(number)
        problems += check_row(base, f'{chapter}.{number}', proof, deviations)
    if len(rows) < 100:
        problems.append(f'{PAGE} has {len(rows)} rows: the specification has more sentences')
    source.finish('coverage', problems, len(rows))


if __name__ == '__main__':
    sys.exit(main())
