#!/usr/bin/python3
"""The reference pages are made from the tables in src/tables/, so that they cannot be wrong.

usage: tables.py [project directory] [--write]

Without --write: fails when a page in docs/ or man/ is not what the tables say now. With it: writes the pages.
Two rows with one id or one name are an error in either mode."""
import os
import sys

import source

NOTE = '<!-- Made from src/tables/{table} by tests/lint/tables.py --write; do not edit. -->\n\n'


class TableError(Exception):
    pass


def split_arguments(text):
    """The arguments of a macro call: text without the outer parentheses, split at the commas of the outermost level."""
    arguments, depth, current, i = [], 0, '', 0
    while i < len(text):
        c = text[i]
        if c == '"':
            end = i + 1
            while text[end] != '"':
                end += 2 if text[end] == '\\' else 1
            current += text[i:end + 1]
            i = end + 1
            continue
        if c == ',' and depth == 0:
            arguments.append(current.strip())
            current = ''
        else:
            depth += (c in '([{') - (c in ')]}')
            current += c
        i += 1
    return arguments + [current.strip()]


def literal(argument):
    """A C string literal, or several that the compiler joins, as text; anything else as it is."""
    if not argument.startswith('"'):
        return ' '.join(argument.split())
    text, i, inside = '', 0, False
    while i < len(argument):
        c = argument[i]
        if c == '"':
            inside = not inside
        elif inside and c == '\\':
            i += 1
            text += {'n': '\n', 't': '\t'}.get(argument[i], argument[i])
        elif inside:
            text += c
        i += 1
    return text


def rows(base, table, macro, columns):
    """The rows of a table as dictionaries, None when there is no such table."""
    path = os.path.join('src/tables', table)
    if not os.path.exists(os.path.join(base, path)):
        return None
    text = source.read(base, path)
    bare = source.code(text)
    shown = source.code(text, keep_strings=True)
    found, at = [], 0
    while (start := bare.find(macro + '(', at)) >= 0:
        end, depth = start + len(macro) + 1, 1
        while depth > 0:
            if end >= len(bare):
                raise TableError(f'{path}:{source.line_of(text, start)}: the row has no end')
            depth += (bare[end] == '(') - (bare[end] == ')')
            end += 1
        values = [literal(a) for a in split_arguments(shown[start + len(macro) + 1:end - 1])]
        if len(values) != len(columns):
            raise TableError(f'{path}:{source.line_of(text, start)}: {len(values)} columns instead of {len(columns)}: {", ".join(columns)}')
        found.append(dict(zip(columns, values), line=source.line_of(text, start)))
        at = end
    return found


def refuse_doubles(table, found, *columns):
    seen = {}
    for row in found:
        key = '.'.join(row[c] for c in columns)
        if key in seen:
            raise TableError(f'src/tables/{table}:{row["line"]}: {key} is in line {seen[key]} already')
        seen[key] = row['line']


def cell(text):
    return text.replace('|', '\\|').replace('<', '&lt;').replace('\n', ' ')


def code_cell(text):
    return f'`{cell(text)}`' if text else ''


def markdown_table(head, body):
    lines = ['| ' + ' | '.join(head) + ' |', '|' + ' --- |' * len(head)]
    lines += ['| ' + ' | '.join(r) + ' |' for r in body]
    return '\n'.join(lines) + '\n'


def grouped(found, column):
    groups = {}
    for row in found:
        groups.setdefault(row[column], []).append(row)
    return groups


# options

OPTION_COLUMNS = ('section', 'name', 'type', 'default', 'min', 'max', 'unit', 'help')


def option_default(row):
    if row['type'] == 'BOOL':
        return 'yes' if row['default'] in ('true', '1') else 'no'
    return row['default'] + (f' {row["unit"]}' if row['type'] == 'INT' and row['unit'] else '')


def option_values(row):
    if row['type'] == 'INT':
        return f'{row["min"]} to {row["max"]}'
    return {'BOOL': 'yes or no', 'LIST': 'words, separated by spaces', 'TEXT': 'text'}[row['type']]


def options_page(found):
    page = '# Options of signet.conf\n\n' + NOTE.format(table='options.def')
    page += ('The file has `[section]` lines and `name = value` lines; a comment has a line of its own and begins with `#` or `;`. What is not '
             'known is an error that names the line and the nearest name. Every option can also be given as `section.name=value` on the '
             'command line: `signetd -o section.name=value`.\n')
    for section, options in grouped(found, 'section').items():
        page += f'\n## [{section}]\n\n'
        page += markdown_table(('Option', 'Default', 'Values', 'Meaning'),
                               [(code_cell(o['name']), code_cell(option_default(o)), option_values(o), cell(o['help'])) for o in options])
    return page


def roff(text):
    text = text.replace('\\', '\\e').replace('-', '\\-')
    return '\n'.join('\\&' + line if line.startswith(('.', "'")) else line for line in text.split('\n'))


def options_man(found):
    page = ('.\\" Made from src/tables/options.def by tests/lint/tables.py --write; do not edit.\n'
            '.TH SIGNET.CONF 5 "" "Signet" "File formats"\n'
            '.SH NAME\nsignet.conf \\- configuration of signetd\n'
            '.SH DESCRIPTION\n'
            'The file has\n.RI [ section ]\nlines and\n.IR name " = " value\nlines.\n'
            'A comment has a line of its own and begins with # or ;. Nothing behind a value is cut off, so values may contain these characters.\n'
            'Lines are at most 65533 bytes long. What signetd does not know is an error that names the line and the nearest name.\n'
            '.SH OPTIONS\n')
    for section, options in grouped(found, 'section').items():
        page += f'.SS [{section}]\n'
        for o in options:
            default = option_default(o)
            says = f'Default: {default}.' if default else 'Default: empty.'
            bounds = f' From {o["min"]} to {o["max"]}.' if o['type'] == 'INT' else ''
            page += f'.TP\n.B {roff(o["name"])}\n{roff(o["help"])}\n{roff(says + bounds)}\n'
    return page + '.SH SEE ALSO\n.BR signetd (8),\n.BR signetctl (1)\n'


# metrics

METRIC_COLUMNS = ('id', 'type', 'name', 'label', 'help')


def check_metrics(found):
    refuse_doubles('metrics.def', found, 'id')
    refuse_doubles('metrics.def', found, 'name', 'label')
    ended, last = set(), None
    for row in found:
        if row['name'] == last:
            continue
        if row['name'] in ended:
            raise TableError(f'src/tables/metrics.def:{row["line"]}: rows of {row["name"]} must stand together')
        ended.add(row['name'])
        last = row['name']


def metrics_page(found):
    check_metrics(found)
    page = '# Metrics\n\n' + NOTE.format(table='metrics.def')
    page += 'Served for Prometheus at `GET /metrics` of `metrics.listen`. Histograms are in seconds.\n\n'
    body = []
    for name, metrics in grouped(found, 'name').items():
        labels = '<br>'.join(code_cell(m['label']) for m in metrics if m['label'])
        body.append((code_cell('signet_' + name), metrics[0]['type'].removeprefix('METRIC_').lower(), labels, cell(metrics[0]['help'])))
    return page + markdown_table(('Metric', 'Type', 'Labels', 'Meaning'), body)


# alarms

ALARM_COLUMNS = ('id', 'severity', 'name', 'text', 'cause', 'remedy')


def alarms_page(found):
    refuse_doubles('alarms.def', found, 'id')
    refuse_doubles('alarms.def', found, 'name')
    page = '# Alarms\n\n' + NOTE.format(table='alarms.def')
    page += 'An alarm is raised for a subject (a compliance server, say), counted while it lasts, and cleared when its cause is gone.\n'
    for row in found:
        if row['severity'] not in ('critical', 'warning'):
            raise TableError(f'src/tables/alarms.def:{row["line"]}: severity {row["severity"]}; use critical or warning')
        page += f'\n## {row["name"]}\n\n{row["severity"].capitalize()}. {row["text"]}\n\n- Likely cause: {row["cause"]}\n- What to do: {row["remedy"]}\n'
    return page


# events

EVENT_COLUMNS = ('name', 'service', 'subject', 'key', 'kinds', 'answers', 'refusable', 'system', 'raised', 'refused')
ANSWERS = {
    'ANY': 'PASS, PASS with a changed stanza, HANDLE, error',
    'PASS': 'PASS; a stanza in it is ignored',
    'PASS_UNMODIFIED': 'PASS, empty or with the stanza unchanged',
    'PASS_EMPTY': 'PASS with nothing in it',
    'NONE': 'none is waited for',
}
KEYS = {'PAIR': 'the two bare JIDs, or the room', 'USER': "the user's bare JID", 'ROOM': 'the room'}
SERVICES = {'JSM': 'Session manager (JSM)', 'TC': 'Text conferencing (TC)'}
SYSTEM = {'NO': '', 'PASS': 'pass', 'BOUNCE': 'bounce', 'BOUNCE_MESSAGES': 'bounce, messages only'}
EVENTS_HEAD = """What compliance servers can be asked about; a compliance profile is a choice of these. `signetctl events list` shows them, `signetctl events show EVENT`
explains one, `signetctl events watch` shows them as they happen. How they look on the wire: [protocol.md](protocol.md#events), with
[examples of what they carry](protocol.md#what-the-events-carry). How to choose: [compliance.md](compliance.md#step-3-profiles).

- *Packet types*: what a row of a JSM event can choose among. A row for another type is saved with a warning: it never matches. TC events have none.
- *Answers*: those the event allows; any other is [invalid](protocol.md#answers).
- *When stopped*: what comes of HANDLE, of an error or silence with Handling bounce, and of bounce together with Fire and Forget. Where *who is told depends on
  its kind*, [this table](compliance.md#what-users-see) says who. An event without this line cannot be stopped: whatever comes or does not come counts as PASS,
  with an alarm, and nobody waits for longer than the event's timeout.
- *Balanced by*: of several compliance servers with one profile, the one that is asked. When an address of the stanza is a room's, it is always the room.
- *SystemDefaultComplianceProfile*: the Handling of its row, for the events that stand in it.
"""


def event_section(e):
    kinds = [k.strip() for k in e['kinds'].replace('PACKET_', '').lower().split('|')]
    facts = [('When', e['raised']), ('Carries', e['subject'])]
    if e['service'] == 'JSM':
        facts.append(('Packet types', 'iq, message, presence, subscription' if kinds == ['all'] else ', '.join(kinds)))
    more = '; HANDLE; error' if e['answers'] == 'PASS' and e['refusable'] == '1' else ''
    facts += [('Answers', ANSWERS[e['answers']] + more), ('When stopped', e['refused']), ('Balanced by', KEYS[e['key']]), ('SystemDefaultComplianceProfile', SYSTEM[e['system']])]
    return f'\n### {e["name"]}\n\n' + ''.join(f'- *{name}*: {cell(text)}\n' for name, text in facts if text)


def events_page(found):
    refuse_doubles('events.def', found, 'name')
    page = '# Events\n\n' + NOTE.format(table='events.def') + EVENTS_HEAD
    for service, events in grouped(found, 'service').items():
        page += f'\n## {SERVICES.get(service, service)}\n'
        for e in events:
            if (e['refusable'] == '1') != (e['refused'] != ''):
                raise TableError(f'src/tables/events.def:{e["line"]}: an event that is refusable says what refusal does, another does not')
            page += event_section(e)
    return page


# answer faults

FAULT_COLUMNS = ('id', 'name', 'lie', 'text', 'becomes')


def faults_page(found):
    page = '# Answers that are not allowed\n\n' + NOTE.format(table='answer_faults.def')
    page += ('What can be wrong with what a compliance server says. Each is counted, by link (`signetctl compliance link list`) and in the metric `answer_faults_total`, and logged\n'
             'once per kind and minute. A link of which nearly all is *lies* (95 % of at least `broker.lies_answers` things said in `broker.lies_window`) is closed with the stream\n'
             'error `policy-violation` and the alarm `compliance-lies`; its events go the way of a graceful end, and it may come again after `broker.lies_pause`.\n\n'
             '| kind | what it is | what becomes of the event | a lie |\n| --- | --- | --- | --- |\n')
    return page + ''.join(f"| `{f['name']}` | {f['text']} | {f['becomes']} | {'yes' if f['lie'] == '1' else 'no'} |\n" for f in found)


# secrets

SECRET_COLUMNS = ('element', 'ns', 'where', 'name', 'what')


def secrets_page(found):
    refuse_doubles('secrets.def', found, 'element', 'ns', 'name')
    page = '# Secrets\n\n' + NOTE.format(table='secrets.def')
    page += ('What no compliance server ever sees. An event shows that it is there, and shows it blank. In a PASS with a stanza, one that is left blank '
             'becomes again what it was; one that is removed stays removed, and one that is set to something stays set to that.\n\n')
    where = {'TEXT': lambda r: f'<{r["element"]}/>', 'ATTRIBUTE': lambda r: f'<{r["element"]} {r["name"]}=""/>',
             'VALUE': lambda r: f'<field var="{r["name"]}"/>'}
    return page + markdown_table(('Secret', 'Namespace', 'What it is'),
                                 [('`' + where[r['where']](r) + '`', code_cell(r['ns']), cell(r['what'])) for r in found])


# commands

SWITCH_COLUMNS = ('id', 'scope', 'name', 'value', 'help')
COMMAND_COLUMNS = ('noun', 'verb', 'arguments', 'switches', 'function', 'help')
EXIT_CODES = [('0', 'done'), ('1', 'refused by signetd, which says why'), ('2', 'wrong usage'), ('3', 'signetd does not answer')]

COMMAND_EXAMPLES = [
    'signetctl user add romeo@example.com --generate',
    'signetctl compliance server add archive --host archive.example.com --port 7999 --tls on --password-file archive.password',
    'signetctl compliance assignment add archive',
    'signetctl events watch --event es_OUT',
]


def command_line(command):
    return ' '.join(filter(None, (command['noun'], command['verb'], command['arguments'])))


def switch_line(switch):
    return f'--{switch["name"]}' + (f' {switch["value"]}' if switch['value'] else '')


def command_switches(command, switches):
    """The options of a command, in the order of the table."""
    ids = [] if command['switches'] == '0' else [i.strip().removeprefix('OPT_') for i in command['switches'].split('|')]
    known = {s['id'] for s in switches if s['scope'] != 'ALL'}
    for i in ids:
        if i not in known:
            raise TableError(f'src/tables/commands.def:{command["line"]}: {i} is no SWITCH of scope ONCE or MANY')
    return [s for s in switches if s['id'] in ids]


def check_commands(commands, switches):
    refuse_doubles('commands.def', switches, 'name')
    refuse_doubles('commands.def', commands, 'function')
    used = {s['id'] for c in commands for s in command_switches(c, switches)}
    for s in switches:
        if s['scope'] not in ('ALL', 'ONCE', 'MANY'):
            raise TableError(f'src/tables/commands.def:{s["line"]}: scope {s["scope"]}; use ALL, ONCE or MANY')
        if s['scope'] != 'ALL' and s['id'] not in used:
            raise TableError(f'src/tables/commands.def:{s["line"]}: no command takes --{s["name"]}')


def commands_page(commands, switches):
    page = '# Commands of signetctl\n\n' + NOTE.format(table='commands.def')
    page += ('`signetctl` administers a running signetd over its admin socket. Options may stand anywhere; `--name=value` and `--name value` are the '
             'same; what follows `--` is no option. Passwords are never given on the command line.\n')
    page += '\n## Options of every command\n\n'
    page += markdown_table(('Option', 'Meaning'), [(code_cell(switch_line(s)), cell(s['help'])) for s in switches if s['scope'] == 'ALL'])
    for noun, of_noun in grouped(commands, 'noun').items():
        page += f'\n## {noun}\n'
        for c in of_noun:
            page += f'\n### {command_line(c)}\n\n{c["help"]}\n'
            own = command_switches(c, switches)
            if own:
                body = [(code_cell(switch_line(s)), 'as often as wanted' if s['scope'] == 'MANY' else '', cell(s['help'])) for s in own]
                page += '\n' + markdown_table(('Option', 'Times', 'Meaning'), body)
    return page + '\n## Exit codes\n\n' + markdown_table(('Code', 'Meaning'), EXIT_CODES)


def roff_switch(switch):
    return f'.TP\n.B {roff(switch_line(switch))}\n{roff(switch["help"])}\n'


def commands_man(commands, switches):
    page = ('.\\" Made from src/tables/commands.def by tests/lint/tables.py --write; do not edit.\n'
            '.TH SIGNETCTL 1 "" "Signet" "User commands"\n'
            '.SH NAME\nsignetctl \\- administer a running signetd\n'
            '.SH SYNOPSIS\n.B signetctl\n.I COMMAND\n.RI [ ARGUMENT ...]\n.RI [ OPTION ...]\n'
            '.SH DESCRIPTION\n'
            'signetctl asks signetd over its admin socket and prints the answer as a table, or as JSON. Options may stand anywhere;\n'
            '.BI \\-\\-name= value\nand\n.BI "\\-\\-name " value\nare the same; what follows\n.B \\-\\-\nis no option.\n'
            'Passwords are never given on the command line, where others can see them.\n'
            '.SH OPTIONS OF EVERY COMMAND\n')
    page += ''.join(roff_switch(s) for s in switches if s['scope'] == 'ALL')
    page += '.SH COMMANDS\n'
    for c in commands:
        own = ' '.join(f'[--{s["name"]}]' for s in command_switches(c, switches))
        page += f'.TP\n.B {roff(command_line(c))}\n'
        page += (f'{roff(own)}\n.br\n' if own else '') + f'{roff(c["help"])}\n'
    page += '.SH OPTIONS OF SOME COMMANDS\n' + ''.join(roff_switch(s) for s in switches if s['scope'] != 'ALL')
    page += '.SH EXIT STATUS\n' + ''.join(f'.TP\n.B {code}\n{text}\n' for code, text in EXIT_CODES)
    page += ('.SH ENVIRONMENT\n.TP\n.B SIGNET_ADMIN_SOCKET\nThe admin socket, unless \\-\\-socket names one.\n'
             '.SH FILES\n.TP\n.I /run/signet/admin.sock\nThe admin socket, unless signetd is configured otherwise. Who may open it administers signetd.\n'
             '.SH EXAMPLES\n.nf\n')
    page += ''.join(roff(example) + '\n' for example in COMMAND_EXAMPLES)
    return page + '.fi\n.SH SEE ALSO\n.BR signetd (8),\n.BR signet.conf (5)\n'


# (table, macro, columns, columns that must not repeat together, the pages)
TABLES = [
    ('options.def', 'OPTION', OPTION_COLUMNS, ('section', 'name'), [('docs/options.md', options_page), ('man/signet.conf.5', options_man)]),
    ('metrics.def', 'METRIC', METRIC_COLUMNS, ('id',), [('docs/metrics.md', metrics_page)]),
    ('alarms.def', 'ALARM', ALARM_COLUMNS, ('id',), [('docs/alarms.md', alarms_page)]),
    ('events.def', 'EVENT', EVENT_COLUMNS, ('name',), [('docs/events.md', events_page)]),
    ('answer_faults.def', 'ANSWER_FAULT', FAULT_COLUMNS, ('name',), [('docs/answers.md', faults_page)]),
    ('secrets.def', 'SECRET', SECRET_COLUMNS, ('element', 'ns', 'name'), [('docs/secrets.md', secrets_page)]),
]


def make_pages(base):
    pages, problems = {}, []
    for table, macro, columns, key, makers in TABLES:
        try:
            found = rows(base, table, macro, columns)
            if found is None:
                continue
            refuse_doubles(table, found, *key)
            pages.update((path, make(found)) for path, make in makers)
        except TableError as error:
            problems.append(str(error))
    try:
        switches = rows(base, 'commands.def', 'SWITCH', SWITCH_COLUMNS)
        commands = rows(base, 'commands.def', 'COMMAND', COMMAND_COLUMNS)
        if commands is not None:
            check_commands(commands, switches)
            pages['docs/commands.md'] = commands_page(commands, switches)
            pages['man/signetctl.1'] = commands_man(commands, switches)
    except TableError as error:
        problems.append(str(error))
    return pages, problems


def main():
    base = source.root()
    pages, problems = make_pages(base)
    for path, text in pages.items():
        full = os.path.join(base, path)
        if '--write' in sys.argv:
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, 'w', encoding='utf-8') as f:
                f.write(text)
        elif not os.path.exists(full):
            problems.append(f'{path} is missing; run tests/lint/tables.py --write')
        elif source.read(base, path) != text:
            problems.append(f'{path} is not what the tables say; run tests/lint/tables.py --write')
    source.finish('tables', problems, len(pages))


main()
