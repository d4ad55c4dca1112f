"""Stanza patterns: what a script says should come, against what came.

Everything written must be there, and nothing else may be, with these exceptions: `from`, `to`, `id` and `xml:lang` of the stanza itself are looked at only when
written, and so are the ids the server gives (`<stanza-id/>`, XEP-0359, and `<occupant-id/>`, XEP-0421); `...` in an element allows more children; `{any}` stands for any value; `{word}` for a value that is remembered under that word and is from then on the
same everywhere. The order of children does not matter."""
import copy
import re
import xml.etree.ElementTree as ET

LANG = "{http://www.w3.org/XML/1998/namespace}lang"
OPTIONAL = ("from", "to", "id", LANG)
MESSAGE = "{jabber:client}message"
PRESENCE = "{jabber:client}presence"
GIVEN = ("{urn:xmpp:sid:0}stanza-id", "{urn:xmpp:occupant-id:0}occupant-id")
WORD = re.compile(r"\{([a-z][a-z-]*)\}")


def parse(text):
    """The elements of a block, in namespace jabber:client where nothing else is said; `stream:` is the prefix of streams."""
    return list(ET.fromstring(f"<x xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>{text}</x>"))


def fill(text, words):
    """The text to send, with remembered values put in."""
    def value(match):
        if match[1] not in words:
            raise KeyError(match[1])
        return words[match[1]]
    return WORD.sub(value, text)


def value_fits(wanted, came, words):
    """True when it fits; remembers what a {word} stands for."""
    match = WORD.fullmatch(wanted)
    if match is None:
        return WORD.sub(lambda m: words.get(m[1], m[0]), wanted) == came
    if match[1] == "any":
        return True
    return words.setdefault(match[1], came) == came


def text_of(element):
    """The element's own text, and whether `...` stands in it."""
    parts = [element.text or ""] + [child.tail or "" for child in element]
    text = "".join(parts).strip()
    return (text[:-3].strip(), True) if text.endswith("...") else (text, False)


def untyped(message):
    """RFC 6121, 5.2.2: no type is type normal."""
    other = copy.copy(message)
    other.attrib.pop("type", None)
    return other


def short(tag):
    return tag.split("}")[-1]


def attributes_differ(wanted, came, words):
    """Of a stream's header: None when exactly those written are there, else what differs."""
    for name, value in wanted.items():
        if name not in came:
            return f"it has no '{short(name)}'"
        if not value_fits(value, came[name], words):
            return f"it has {short(name)}='{came[name]}', not '{value}'"
    more = [name for name in came if name not in wanted]
    return f"it has {short(more[0])}='{came[more[0]]}' too" if more else None


def why_not(wanted, came, words, top=True):
    """None when it fits, else the first difference, in words."""
    if wanted.tag != came.tag:
        return f"<{short(wanted.tag)}> of {wanted.tag[1:].split('}')[0]} expected, <{short(came.tag)}> of {came.tag[1:].split('}')[0]} came"
    where = f"<{short(came.tag)}>"
    if top and wanted.tag == MESSAGE and wanted.get("type", "normal") == came.get("type", "normal") == "normal":
        wanted, came = untyped(wanted), untyped(came)
    for name, value in wanted.attrib.items():
        if name not in came.attrib:
            return f"{where} has no '{short(name)}'"
        if not value_fits(value, came.attrib[name], words):
            return f"{where} has {short(name)}='{came.attrib[name]}', not '{value}'"
    for name, value in came.attrib.items():
        if name not in wanted.attrib and not (top and name in OPTIONAL):
            return f"{where} has {short(name)}='{value}' too"
    text, more = text_of(wanted)
    came_text = text_of(came)[0]
    if not value_fits(text, came_text, words) and not (more and not text):
        return f"{where} holds '{came_text}', not '{text}'"
    return children_differ(wanted, came, words, more, where)


def children_differ(wanted, came, words, more, where):
    left = list(came)
    for child in wanted:
        reasons = []
        for candidate in left:
            trial = dict(words)
            reason = why_not(child, candidate, trial, False)
            if reason is None:
                words.update(trial)
                left.remove(candidate)
                break
            if candidate.tag == child.tag:
                reasons.append(reason)
        else:
            return reasons[0] if reasons else f"{where} has no child <{short(child.tag)}>"
    if came.tag in (MESSAGE, PRESENCE):
        left = [e for e in left if e.tag not in GIVEN]
    if left and not more:
        return f"{where} has a child <{short(left[0].tag)}> too"
    return None


def show(element):
    """As the script would write it: without the prefixes that ElementTree makes."""
    return "    " + "\n    ".join(pretty(element, "jabber:client", 0))


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("'", "&apos;")


def pretty(element, ns, depth):
    own, name = element.tag[1:].split("}") if element.tag.startswith("{") else ("", element.tag)
    attributes = ("" if own == ns else f" xmlns='{own}'") + "".join(f" {'xml:lang' if k == LANG else short(k)}='{escaped(v)}'" for k, v in element.attrib.items())
    text, indent = escaped((element.text or "").strip()), "  " * depth
    if not len(element):
        return [f"{indent}<{name}{attributes}" + (f">{text}</{name}>" if text else "/>")]
    lines = [f"{indent}<{name}{attributes}>{text}"]
    for child in element:
        lines += pretty(child, own, depth + 1)
    return lines + [f"{indent}</{name}>"]
