"""Plays scenario scripts: each step of each script given, against a running signetd. Says of a failing step its file, its line, what was expected and what
came. docs/scenarios.md is the language's description; STEPS below is the language."""
import argparse
import pathlib
import re
import sys
import xml.etree.ElementTree as ET

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import pattern
import rooms
from harness.client import Closed
from harness.compliance import handled, passed, passed_to, passed_with, refused
from script import Script, ScriptError
from stage import STREAM_ERROR, Stage


class Failed(Exception):
    """A step did not go as the script says."""


class Play:
    def __init__(self, script):
        self.script, self.words = script, {}
        self.stage = Stage(script)

    # ---- finding who is spoken of ----
    def actor(self, name):
        if name not in self.stage.actors:
            raise Failed(f"there is no client '{name}' in [clients]")
        return self.stage.actors[name]

    def observer(self, name):
        if name not in self.stage.observers:
            raise Failed(f"there is no compliance server '{name}': name it in a section [compliance {name}]")
        return self.stage.observers[name]

    def online(self, name):
        actor = self.actor(name)
        if actor.client is None:
            raise Failed(f"{name} is not connected")
        return actor

    def patterns(self, step):
        try:
            found = pattern.parse(step.block)
        except ET.ParseError as e:
            raise Failed(f"the XML below this step is wrong: {e}") from e
        if not found:
            raise Failed("this step needs XML below it")
        return found

    def filled(self, step):
        """The XML below the step as it is sent: remembered values put in, without the script's line ends."""
        try:
            return re.sub(r"\n\s*", "", pattern.fill(step.block, self.words).strip())
        except KeyError as e:
            raise Failed(f"nothing that came has been called {{{e.args[0]}}}") from e

    # ---- clients ----
    def connects(self, step, name):
        self.stage.connect(self.actor(name))
        problem = self.stage.connected(self.actor(name))
        if problem:
            raise Failed(f"{name} was refused: {problem}")

    def begins(self, step, name):
        self.stage.connect(self.actor(name))

    def refused_with(self, step, name, condition):
        problem = self.stage.connected(self.actor(name))
        if problem != condition:
            raise Failed(f"expected a refusal with '{condition}', but " + (f"it was '{problem}'" if problem else f"{name} was let in"))

    def is_connected(self, step, name):
        problem = self.stage.connected(self.actor(name))
        if problem:
            raise Failed(f"{name} was refused: {problem}")

    def online_now(self, step, name):
        self.connects(step, name)
        self.actor(name).client.available()

    def disconnects(self, step, name):
        self.stage.disconnect(self.online(name))

    def is_cut(self, step, name):
        self.stage.disconnect(self.online(name), cut=True)

    def gives_up(self, step, name):
        self.stage.give_up(self.actor(name))

    def is_put_out(self, step, name, condition):
        actor = self.online(name)
        self.stage.until(lambda: actor.ended)
        if not actor.ended or not actor.inbox or actor.inbox[-1].tag != STREAM_ERROR:
            raise Failed(f"{name}'s stream was not ended with an error; {self.held(actor.inbox)}")
        found = pattern.short(actor.inbox.pop()[0].tag)
        if not actor.client.stream.closed:
            raise Failed("the stream error came without the end of the stream")
        actor.client.until_end()
        actor.client = None
        if found != condition:
            raise Failed(f"expected the stream error '{condition}', but it was '{found}'")

    # ---- a stream spoken by hand ----
    def opens(self, step, name, tls=None):
        self.stage.open(self.actor(name), bool(tls))

    def begins_stream(self, step, name):
        self.online(name).client.stream.reset()
        self.actor(name).client.send(HEADER.format(domain=self.actor(name).client.domain))

    def sends_text(self, step, name):
        actor, text = self.online(name), self.filled(step)
        if "<stream:stream" in text:
            actor.client.stream.reset()
        actor.client.sock.sendall(re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), text).encode("latin-1", "strict")
                                  if "\\x" in text else text.encode())

    def receives_header(self, step, name):
        actor = self.online(name)
        wanted = self.patterns(step)[0]
        self.stage.until(lambda: actor.client.stream.header is not None)
        came = actor.client.stream.header
        if came is None:
            raise Failed("no stream header came")
        reason = pattern.attributes_differ(wanted.attrib, came, self.words)
        if reason is not None:
            raise Failed(f"of the header that came: {reason}")

    def starts_tls(self, step, name):
        actor = self.online(name)
        actor.client.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        self.one_received(actor, pattern.parse("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")[0], None)
        actor.client.start_tls()

    def logs_in(self, step, name):
        actor = self.online(name)
        actor.client.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{actor.client.plain()}</auth>")
        self.one_received(actor, pattern.parse("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")[0], None)

    def logged_in(self, step, name):
        """By hand, up to the features after the login."""
        self.opens(step, name, tls=True)
        for part in (self.begins_stream, self.logs_in, self.begins_stream):
            part(step, name)
            if part == self.begins_stream:
                self.one_received(self.online(name), pattern.parse("<stream:features>...</stream:features>")[0], None)

    def binds(self, step, name):
        self.logged_in(step, name)
        actor = self.online(name)
        actor.client.send(f"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{actor.resource}</resource></bind></iq>")
        self.one_received(actor, pattern.parse("<iq type='result' id='bind'>...</iq>")[0], None)

    def stream_over(self, step, name):
        actor = self.online(name)
        self.stage.until(lambda: actor.ended)
        if actor.inbox or not actor.client.stream.closed:
            raise Failed(("the connection ended" if actor.ended else "the connection is there") + " without the end of the stream; " + self.held(actor.inbox))
        actor.client.until_end()
        actor.client = None

    def connection_over(self, step, name):
        actor = self.online(name)
        actor.client.until_end()
        if actor.inbox:
            raise Failed(self.held(actor.inbox))
        actor.client = None

    def sends(self, step, name):
        actor = self.online(name)
        self.patterns(step)
        actor.client.send(self.filled(step))

    def receives(self, step, name, also=None):
        actor = self.actor(name) if self.actor(name).inbox else self.online(name) # last words come to who is not connected any more
        for wanted in self.patterns(step):
            self.one_received(actor, wanted, also)

    def all_receive(self, step, names):
        for name in re.split(r", | and ", names):
            self.receives(step, name)

    def one_received(self, actor, wanted, also):
        def first():
            if not also:
                return actor.inbox[0] if actor.inbox else None
            return next((e for e in actor.inbox if pattern.why_not(wanted, e, dict(self.words)) is None), None)
        self.stage.until(lambda: first() is not None)
        came = first()
        if came is None:
            raise Failed(f"expected:\n{pattern.show(wanted)}\n{self.held(actor.inbox)}")
        reason = pattern.why_not(wanted, came, self.words)
        if reason is not None:
            raise Failed(f"expected:\n{pattern.show(wanted)}\ncame:\n{pattern.show(came)}\n{reason}")
        actor.inbox.remove(came)

    @staticmethod
    def held(inbox):
        return "nothing came" if not inbox else "there is only:\n" + "\n".join(pattern.show(e) for e in inbox)

    def receives_nothing(self, step, name):
        self.stage.settle()
        actor = self.actor(name)
        if actor.inbox:
            raise Failed("came:\n" + "\n".join(pattern.show(e) for e in actor.inbox))

    def nobody_receives(self, step):
        self.stage.settle()
        for actor in self.stage.actors.values():
            if actor.inbox:
                raise Failed(f"{actor.name} received:\n" + "\n".join(pattern.show(e) for e in actor.inbox))

    # ---- rooms ----
    def went_wrong(self, problem):
        if problem is not None:
            raise Failed(problem)

    def makes_room(self, step, name, room, nick):
        self.went_wrong(rooms.make(self.stage, self.online(name), room, nick, self.filled(step)))

    def enters_room(self, step, name, room, nick):
        self.went_wrong(rooms.enter(self.stage, self.online(name), room, nick, self.filled(step)))

    def is_told(self, step, name, condition):
        actor = self.online(name)
        self.stage.until(lambda: actor.inbox)
        if not actor.inbox or rooms.condition_of(actor.inbox[0]) != condition:
            raise Failed(f"expected an error '{condition}'; {self.held(actor.inbox)}")
        actor.inbox.popleft()

    def restarts(self, step, word):
        self.stage.restart(word == "dies")

    def roster_is(self, step, name):
        self.stage.settle()
        items, wanted = self.stage.roster(self.actor(name)), []
        if step.block.strip():
            wanted = list(pattern.parse("<query xmlns='jabber:iq:roster'>" + step.block + "</query>")[0])
        for one in wanted:
            same = [i for i in items if i.get("jid") == one.get("jid")]
            reason = pattern.why_not(one, same[0], dict(self.words), False) if same else "there is no such item"
            if reason is not None:
                raise Failed(f"expected:\n{pattern.show(one)}\n{reason}; the roster is:\n" + "\n".join(pattern.show(i) for i in items))
            items.remove(same[0])
        if items:
            raise Failed("there is also:\n" + "\n".join(pattern.show(i) for i in items))

    # ---- compliance servers ----
    def is_asked(self, step, name, also, event, session, again, label):
        observer = self.observer(name)
        wanted = self.patterns(step)[0] if step.block.strip() else None

        before = observer.last

        def reason(e):
            if again and e.id != before.id:
                return f"this is event {e.id}, not {before.id} once more"
            if e.name != event:
                return f"asked about {e.name}, not {event}"
            if session and e.attributes.get("session") != session:
                return f"asked for session {e.attributes.get('session')}, not {session}"
            return pattern.why_not(wanted, e.stanza, dict(self.words)) if wanted is not None else None

        def first():
            if not also:
                return observer.inbox[0] if observer.inbox else None
            return next((e for e in list(observer.inbox) if reason(e) is None), None)
        self.stage.until(lambda: first() is not None)
        came = first()
        if came is None:
            raise Failed(f"{name} was not asked about {event}; it was asked: {[e.name for e in observer.inbox] or 'nothing'}")
        why = reason(came)
        if why is not None:
            raise Failed((f"expected:\n{pattern.show(wanted)}\n" if wanted is not None else "") + f"came, with {came.name}:\n{pattern.show(came.stanza)}\n{why}")
        if wanted is not None:
            pattern.why_not(wanted, came.stanza, self.words)
        observer.inbox.remove(came)
        observer.last = came
        if label:
            observer.named[label] = came

    def may_choose(self, step, name):
        observer = self.observer(name)
        if observer.last is None:
            raise Failed(f"{name} was not asked anything")
        wanted = [e.attrib for e in self.patterns(step)]
        named = [e.attrib for e in observer.last.candidates]
        if wanted != named:
            raise Failed(f"the sessions named, in this order, are {named or 'none'}")

    def asked_nothing(self, step, name):
        self.stage.settle()
        inbox = self.observer(name).inbox
        if inbox:
            raise Failed("it was asked:\n" + "\n".join(f"  {e.name}\n{pattern.show(e.stanza)}" for e in inbox))

    def answers(self, step, name, label, answer):
        observer = self.observer(name)
        event = observer.named.get(label) if label else observer.last
        if event is None:
            raise Failed(f"{name} was not asked anything" + (f" called {label}" if label else ""))
        observer.answer(event, self.answer_text(step, event, answer))

    def answer_text(self, step, event, answer):
        block = self.filled(step)
        with_ns = re.sub(r"^<(\w+)", r"<\1 xmlns='jabber:client'", block)
        words = answer.rstrip(":").split()
        if answer == "PASS":
            return passed(event)
        if answer == "PASS with:":
            return passed_with(event, with_ns)
        if answer in ("HANDLE", "HANDLE with:"):
            return handled(event, with_ns)
        if words[:2] == ["PASS", "to"] and len(words) == (4 if block else 3):
            return passed_to(event, words[2], with_ns)
        if words[0] == "error" and len(words) == 2:
            return refused(event, words[1], block)
        if answer == "nothing":
            return None
        raise Failed(f"'{answer}' is no answer; there are PASS, PASS with:, PASS to SESSION, HANDLE, HANDLE with:, error CONDITION, nothing")

    def passes_everything(self, step, name):
        observer = self.observer(name)
        observer.passes_all = True
        for event in list(observer.unanswered):
            observer.answer(event, passed(event))
        observer.inbox.clear()

    def asks_again(self, step, name):
        self.stage.settle()
        self.observer(name).passes_all = False

    def leaves(self, step, name):
        observer = self.observer(name)
        self.stage.live = False
        observer.unanswered.clear()
        observer.server.leave()
        self.stage.service.wait_link(observer.component, "GONE")

    def dies(self, step, name):
        observer = self.observer(name)
        self.stage.live = False
        observer.unanswered.clear()
        observer.server.cut()

    def returns(self, step, name):
        observer = self.observer(name)
        before = observer.server.connections
        observer.server.listen()
        self.stage.until(lambda: observer.server.connections > before, 20)
        self.stage.service.wait_link(observer.component, "ACTIVE")
        self.stage.live = True

    # ---- the whole ----
    def left_over(self):
        """A script speaks of everything that comes: what it does not is a failure at its end."""
        self.stage.settle()
        for actor in self.stage.actors.values():
            if actor.inbox:
                raise Failed(f"at the end {actor.name} had also received:\n" + "\n".join(pattern.show(e) for e in actor.inbox))
        for observer in self.stage.observers.values():
            if observer.inbox:
                raise Failed(f"at the end {observer.name} had also been asked: " + ", ".join(e.name for e in observer.inbox))

    def step(self, step):
        for form, method in STEPS:
            match = form.fullmatch(step.text)
            if match:
                method(self, step, **match.groupdict())
                return
        raise Failed("there is no such step; docs/scenarios.md lists them")

    def run(self):
        for step in self.script.steps:
            try:
                self.step(step)
            except (Failed, AssertionError, Closed, OSError) as e:
                return f"{self.script.path}:{step.line}: {step.text}\n{e}"
        try:
            self.left_over()
        except (Failed, AssertionError) as e:
            return f"{self.script.path}: {e}"
        return None


HEADER = "<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"


def form(text):
    """'NAME sends:' and the like as a regular expression."""
    kinds = {"NAME": r"(?P<name>[\w' ]+?)", "CONDITION": r"(?P<condition>[a-z-]+)", "EVENT": r"(?P<event>\w+)", "ANSWER": r"(?P<answer>[\w:@./ -]+)",
             "SESSION": r"(?P<session>\S+?)", "LABEL": r"(?P<label>\w+)", "ROOM": r"(?P<room>\S+@\S+)", "NICK": r"(?P<nick>[^:]+?)", "ALSO": r"(?P<also> also)?"}
    return re.compile(re.sub("|".join(kinds), lambda m: kinds[m[0]], text))


STEPS = [(form(text), method) for text, method in (
    ("NAME connects", Play.connects),
    ("NAME begins to connect", Play.begins),
    ("NAME is connected", Play.is_connected),
    ("NAME is refused with CONDITION", Play.refused_with),
    ("NAME is online", Play.online_now),
    ("NAME disconnects", Play.disconnects),
    ("NAME is cut off", Play.is_cut),
    ("NAME gives up", Play.gives_up),
    ("NAME is put out with CONDITION", Play.is_put_out),
    (r"NAME opens a connection(?P<tls> with TLS)?", Play.opens),
    ("NAME begins a stream", Play.begins_stream),
    ("NAME sends the text:", Play.sends_text),
    ("NAME receives the header:", Play.receives_header),
    ("NAME starts TLS", Play.starts_tls),
    ("NAME logs in", Play.logs_in),
    ("NAME is logged in", Play.logged_in),
    ("NAME is bound", Play.binds),
    ("NAME's stream is over", Play.stream_over),
    ("NAME's connection is over", Play.connection_over),
    ("NAME sends:", Play.sends),
    (r"NAME makes ROOM as NICK:?", Play.makes_room),
    (r"NAME enters ROOM as NICK(?: with:)?", Play.enters_room),
    ("NAME is told CONDITION", Play.is_told),
    (r"The service (?P<word>restarts|dies) and is there again", Play.restarts),
    ("Nobody receives anything", Play.nobody_receives),
    ("NAMEALSO receives:", Play.receives),
    (r"(?P<names>[\w' ,]+) receive:", Play.all_receive),
    ("NAME receives nothing", Play.receives_nothing),
    ("NAME's roster is empty", Play.roster_is),
    ("NAME's roster is:", Play.roster_is),
    ("NAME is asked nothing", Play.asked_nothing),
    (r"NAME isALSO asked EVENT(?: for SESSION)?(?P<again> again)?(?: \(LABEL\))?:?", Play.is_asked),
    ("NAME may choose from:", Play.may_choose),
    ("NAME passes everything", Play.passes_everything),
    ("NAME asks again", Play.asks_again),
    (r"NAME answers (?:LABEL with )?ANSWER", Play.answers),
    ("NAME leaves", Play.leaves),
    ("NAME dies", Play.dies),
    ("NAME returns", Play.returns),
)]


def play(path, verbose):
    """True when all went as written."""
    try:
        script = Script(path)
    except ScriptError as e:
        print(e)
        return False
    one = Play(script)
    problem = one.run()
    log = one.stage.service.log().splitlines()[-25:] if problem else []
    try:
        one.stage.close()
    except AssertionError as e:
        problem = problem or f"{path}: {e}"
    if problem:
        print(problem)
        print("the end of signetd's log:\n  " + "\n  ".join(log))
    elif verbose:
        print(f"{path.name}: {script.title} ({script.shows})")
    return problem is None


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-v", "--verbose", action="store_true")
    arguments.add_argument("scripts", nargs="+", type=pathlib.Path)
    chosen = arguments.parse_args()
    failed = [path for path in chosen.scripts if not play(path, chosen.verbose)]
    if failed:
        print(f"{len(failed)} of {len(chosen.scripts)} scripts failed: {' '.join(p.name for p in failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
