"""Reads scenario scripts: plain text in, sections and steps out. docs/scenarios.md says how one is written; nothing here knows what a step means."""
import re


class ScriptError(Exception):
    """The script itself is wrong, in file and line."""

    def __init__(self, path, line, text):
        super().__init__(f"{path}:{line}: {text}")


class Step:
    def __init__(self, line, text):
        self.line, self.text, self.block = line, text, ""

    def __repr__(self):
        return self.text + ("\n" + self.block.rstrip() if self.block else "")


class Script:
    """title, shows: the header. sections: name -> [(line number, text)]. steps: what [script] holds."""

    SECTIONS = ("clients", "friends", "options", "script")

    def __init__(self, path):
        self.path, self.title, self.shows = path, None, None
        self.sections, self.steps = {}, []
        section = None
        for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            line = raw.rstrip()
            if line.lstrip().startswith("#") or (not line and section != "script"):
                continue
            heading = re.fullmatch(r"\[(.+)\]", line)
            if heading:
                section = self.begin(number, heading[1])
            elif section is None:
                self.header(number, line)
            elif section == "script":
                self.step(number, line)
            else:
                self.sections[section].append((number, line.strip()))
        if not self.title or not self.shows or not self.steps:
            raise ScriptError(path, 1, "a script has a title, a line 'Shows: ...' and a [script]")

    def begin(self, number, name):
        if name not in self.SECTIONS and not name.startswith("compliance"):
            raise ScriptError(self.path, number, f"there is no section [{name}]; there are {', '.join(self.SECTIONS)} and compliance")
        if name in self.sections:
            raise ScriptError(self.path, number, f"a second [{name}]")
        self.sections[name] = []
        return name

    def header(self, number, line):
        if self.title is None:
            self.title = line
        elif line.startswith("Shows:"):
            self.shows = line[6:].strip()

    def step(self, number, line):
        if line.startswith((" ", "\t")):
            if not self.steps:
                raise ScriptError(self.path, number, "indented lines belong to a step above them")
            self.steps[-1].block += line + "\n"
        elif line:
            self.steps.append(Step(number, line))

    def compliance(self):
        """[(name, rows)] in routing priority; a row is (event, packet type, handling, fire and forget); a lone word is the name of a profile that is
        there already."""
        found = []
        for section, lines in self.sections.items():
            if not section.startswith("compliance"):
                continue
            name = section[len("compliance"):].strip() or "Compliance"
            stored = len(lines) == 1 and " " not in lines[0][1]
            found.append((name, lines[0][1] if stored else [self.row(number, line) for number, line in lines]))
        return found

    def row(self, number, line):
        words = line.replace(",", " ").split()
        forget = "shadow" if words[-1] == "shadow" else words[-1] == "forget"
        words = words[:-1] if forget else words
        if len(words) == 2 and words[1] in ("pass", "bounce"):
            words.insert(1, "all")
        if len(words) != 3 or words[2] not in ("pass", "bounce"):
            raise ScriptError(self.path, number, "a row is: event, packet type, pass or bounce, and perhaps 'forget' or 'shadow'")
        return words[0], words[1], words[2], forget

    def pairs(self, section):
        """The lines 'name: value' of a section."""
        for number, line in self.sections.get(section, []):
            name, colon, value = line.partition(":")
            if not colon or not value.strip():
                raise ScriptError(self.path, number, f"'{line}' is not 'name: value'")
            yield number, name.strip(), value.strip()
