"""What the lints share: finding the sources, looking at them without comments and strings, and reporting."""
import os
import re
import sys

SUFFIXES = ('.c', '.h', '.def')

# A comment, a string or a character literal; whichever begins first swallows the others.
_TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def root():
    """The project's directory: the first argument, or two levels above this file."""
    for argument in sys.argv[1:]:
        if not argument.startswith('--'):
            return os.path.abspath(argument)
    return os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))


def files(base, folders, suffixes=SUFFIXES):
    """Paths relative to base, sorted."""
    found = []
    for folder in folders:
        for directory, _, names in os.walk(os.path.join(base, folder)):
            found += [os.path.relpath(os.path.join(directory, n), base) for n in names if n.endswith(suffixes)]
    return sorted(found)


def read(base, path):
    with open(os.path.join(base, path), encoding='utf-8') as f:
        return f.read()


def _blank(match, keep_strings):
    text = match.group(0)
    if text[0] in '"\'' and keep_strings:
        return text
    hollow = re.sub(r'[^\n]', ' ', text)
    return text[0] + hollow[1:-1] + text[-1] if text[0] in '"\'' else hollow


def code(text, keep_strings=False):
    """The text with comments, and strings if asked, replaced by blanks; lines and columns stay where they are."""
    return _TOKEN.sub(lambda m: _blank(m, keep_strings), text)


def line_of(text, offset):
    return text.count('\n', 0, offset) + 1


def finish(name, problems, looked_at):
    """Prints what was found and ends the program."""
    for problem in problems:
        print(problem)
    if problems:
        print(f'{name}: {len(problems)} problem{"s" if len(problems) != 1 else ""} in {looked_at} files')
        sys.exit(1)
    if looked_at == 0:
        print(f'{name}: found nothing to look at; is the first argument the project\'s directory?')
        sys.exit(1)
    print(f'{name}: {looked_at} files are in order')
    sys.exit(0)
