#!/usr/bin/python3
"""Functions that nobody here calls, because they write without a bound, hide errors, or keep state between calls.

usage: banned.py [project directory]"""
import re

import source

INSTEAD = {
    'strcpy': 'str_dup, arena_strndup or memcpy with a checked size',
    'stpcpy': 'str_dup, arena_strndup or memcpy with a checked size',
    'strncpy': 'snprintf or memcpy with a checked size; strncpy may leave no NUL',
    'strcat': 'a struct buf',
    'strncat': 'a struct buf',
    'sprintf': 'snprintf or buf_addf',
    'vsprintf': 'vsnprintf or buf_addv',
    'gets': 'fgets',
    'atoi': 'strtol with its errors checked',
    'atol': 'strtol with its errors checked',
    'atoll': 'strtoll with its errors checked',
    'atof': 'strtod with its errors checked',
    'strtok': 'strcspn and strspn, or strtok_r',
    'gmtime': 'clock_stamp or gmtime_r',
    'localtime': 'localtime_r',
    'ctime': 'clock_stamp',
    'asctime': 'clock_stamp',
    'rand': 'hash_random',
    'tmpnam': 'mkstemp',
    'mktemp': 'mkstemp',
    'alloca': 'an arena',
}
CALL = re.compile(r'(?<![\w.>])(' + '|'.join(INSTEAD) + r')\s*\(')


def main():
    base = source.root()
    paths = source.files(base, ['src', 'sdk', 'servers', 'bench'])
    problems = []
    for path in paths:
        text = source.code(source.read(base, path))
        for match in CALL.finditer(text):
            name = match.group(1)
            problems.append(f'{path}:{source.line_of(text, match.start())}: {name}() is banned: use {INSTEAD[name]}')
    source.finish('banned', problems, len(paths))


main()
