#!/usr/bin/python3
"""Only jsm/deliver writes to a session.

usage: deliver.py [project directory]

jsm/deliver.c raises es_IN before anything reaches a client. Whoever calls the output function of a client stream past it lets something
go by the compliance servers unseen, so the name may stand nowhere else: not called, not passed on as a pointer. And above xmpp/ nobody
writes to a connection at all."""
import re

import source

OUTPUT = re.compile(r'\bc2s_send_stanza\b')
OUTPUT_DEFINED = re.compile(r'^src/xmpp/c2s[a-z_]*\.[ch]$')
OUTPUT_USER = 'src/jsm/deliver.c'
CONNECTION = re.compile(r'\bconn_(write\w*|out|send\w*|flush)\b')
CONNECTION_USERS = ('src/io/', 'src/xmpp/')


def main():
    base = source.root()
    paths = source.files(base, ['src'])
    problems = []
    defined = False
    for path in paths:
        text = source.code(source.read(base, path))
        for match in OUTPUT.finditer(text):
            defined = defined or path == 'src/xmpp/c2s.h'
            if path != OUTPUT_USER and not OUTPUT_DEFINED.match(path):
                problems.append(f'{path}:{source.line_of(text, match.start())}: {match.group(0)} is for {OUTPUT_USER} alone; hand the stanza to jsm/deliver')
        for match in CONNECTION.finditer(text):
            if not path.startswith(CONNECTION_USERS):
                problems.append(f'{path}:{source.line_of(text, match.start())}: {match.group(0)}: only io/ and xmpp/ write to connections')
    if not defined:
        problems.append('src/xmpp/c2s.h: c2s_send_stanza is not there: was it renamed? This lint must know the session output function')
    source.finish('deliver', problems, len(paths))


main()
