#!/usr/bin/python3
"""Includes point only down the order of layers, and a library is used only where it belongs.

usage: layers.py [project directory]

A layer may include itself and any layer below it; layers that share a rank know nothing of each other. The ranks are those of
ARCHITECTURE.md. Whoever wants to call up registers an ops struct at start."""
import re

import source

RANKS = [
    ['base'],
    ['io', 'xml'],
    ['xmpp'],
    ['store'],
    ['cluster'],
    ['router'],
    ['broker'],
    ['jsm', 'tc'],
    ['admin'],
    ['signetd'],
]
RANK = {layer: rank for rank, layers in enumerate(RANKS) for layer in layers}
LAYERS_IN_ORDER = ' < '.join(', '.join(layers) for layers in RANKS)

# Folders beside the order: what of src/ they may include besides themselves.
OUTSIDE = {
    'src/signetctl': {'base'},
    'sdk/include': set(),
    'sdk/src': {'base', 'xml'},
    'sdk/examples': set(),
    'servers': {'base'},
    'bench': {'base'},
}

# (what is included, who may, why). The first row that matches decides; a header that no row names may be used by all.
LIBRARIES = [
    (r'uv\.h', ('src/io',), 'libuv is hidden behind io/'),
    (r'openssl/(evp|hmac|sha|md5|rand|crypto|kdf|params|param_build|core_names|opensslv)\.h', ('src', 'sdk', 'servers', 'bench'), ''),
    (r'openssl/.*', ('src/io', 'sdk/src', 'bench'), "TLS is io/'s; elsewhere only OpenSSL's digests are used (evp, hmac, sha, rand, crypto, kdf)"),
    (r'ares.*\.h', ('src/io',), "DNS is io/'s"),
    (r'microhttpd\.h', ('src/io', 'src/admin'), 'HTTP is served by io/ and admin/'),
    (r'expat(_external)?\.h', ('src/xml',), 'expat is hidden behind xml/'),
    (r'gsasl\.h', ('src/xmpp',), "SASL is xmpp/'s"),
    (r'idn2\.h', ('src/xmpp', 'src/io'), "domain names are prepared by xmpp/ for JIDs and by io/ for certificates"),
    (r'uni(case|ctype|norm|str)\.h', ('src/xmpp',), "preparing JIDs is xmpp/'s"),
    (r'(stringprep|idna|punycode)\.h', ('src/xmpp',), "preparing JIDs is xmpp/'s"),
    (r'sqlite3\.h', ('src/store', 'servers/recorder'), 'the database is reached through store/'),
    (r'libpq.*\.h', ('src/store',), 'the database is reached through store/'),
    (r'nats.*\.h', ('src/cluster',), "the bus is cluster/'s"),
    (r'ini\.h', ('src/base', 'servers'), 'the configuration is read by base/config'),
    (r'systemd/sd-journal\.h', ('src/base',), 'the log is written by base/log'),
    (r'systemd/.*', ('src/signetd', 'servers'), 'the service manager is talked to by the daemons'),
    (r'curl/.*', ('src/signetctl',), "HTTP requests are signetctl's"),
]

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.M)


def inside(path, folder):
    return path.startswith(folder + '/')


def layer_of(path):
    parts = path.split('/')
    return parts[1] if parts[0] == 'src' and len(parts) > 2 else None


def check_library(path, header):
    for pattern, allowed, why in LIBRARIES:
        if re.fullmatch(pattern, header):
            return None if any(inside(path, folder) for folder in allowed) else f'<{header}> belongs to {", ".join(allowed)}: {why}'
    return None


def check_project_header(path, header):
    """header is relative to src/: 'xmpp/jid.h'; a name without a folder is a private header beside its user."""
    target = header.split('/')[0]
    if header.startswith('../') or '/../' in header:
        return f'"{header}" goes up by path; include it as "layer/name.h"'
    if '/' not in header or target == 'tables':
        return None
    if target == 'signet':
        return None if path.startswith(('sdk/', 'servers/')) else f'"{header}" is the public interface for compliance servers; {path} is not one'
    if target == 'features' and inside(path, 'src/jsm'):
        return f'"{header}": write it as "jsm/{header}"'
    if target not in RANK:
        return None if target == layer_of(path) or inside(path, 'sdk') or inside(path, 'servers') or inside(path, 'bench') else f'"{header}" is of no layer ({LAYERS_IN_ORDER})'
    for folder, allowed in OUTSIDE.items():
        if inside(path, folder):
            names = ' and '.join(sorted(allowed)) if allowed else 'nothing of src/'
            return None if target in allowed else f'"{header}": {folder} may include {names}'
    layer = layer_of(path)
    if layer is None or layer == 'tables' or layer == target:
        return None
    if layer not in RANK:
        return f'{path}: src/{layer} is of no layer ({LAYERS_IN_ORDER}); add it to RANKS of this lint and to ARCHITECTURE.md'
    if RANK[target] < RANK[layer]:
        return None
    what = 'is beside' if RANK[target] == RANK[layer] else 'is above'
    return f'"{header}": {target} {what} {layer} ({LAYERS_IN_ORDER}); register an ops struct to call up'


def main():
    base = source.root()
    paths = source.files(base, ['src', 'sdk', 'servers', 'bench'])
    problems = []
    for path in paths:
        text = source.code(source.read(base, path), keep_strings=True)
        for match in INCLUDE.finditer(text):
            bracket, header = match.groups()
            problem = check_library(path, header)
            if problem is None and (bracket == '"' or header.startswith('signet/')):
                problem = check_project_header(path, header)
            if problem is not None:
                problems.append(f'{path}:{source.line_of(text, match.start(1))}: {problem}')
    source.finish('layers', problems, len(paths))


main()
