"""Steps about chat rooms (XEP-0045) for scripts that begin in a room: it is made, somebody enters it. What such a step takes from those in the room is what it is
about and nothing else; what else came is for the script to speak of."""
import pattern

MUC = "http://jabber.org/protocol/muc"
PRESENCE, MESSAGE, IQ, SUBJECT = "{jabber:client}presence", "{jabber:client}message", "{jabber:client}iq", "{jabber:client}subject"
ERROR, STANZAS, STATUS = "{jabber:client}error", "{urn:ietf:params:xml:ns:xmpp-stanzas}", f"{{{MUC}#user}}status"
CONFIGURE = ("<iq type='set' id='{id}' to='{room}'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>"
             "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>{fields}</x></query></iq>")


def statuses(presence):
    return {status.get("code") for status in presence.iter(STATUS)}


def is_end_of_history(element, room):
    return element.tag == MESSAGE and element.get("from", "").startswith(room) and element.find(SUBJECT) is not None and element.find("{jabber:client}body") is None


def failure(actor):
    return "there is only:\n" + "\n".join(pattern.show(e) for e in actor.inbox) if actor.inbox else "nothing came"


def enter(stage, actor, room, nick, inside=""):
    """Sends the presence and takes what it brings: everybody's presence, one's own, the history, the subject. Returns what is wrong, or None."""
    address = f"{room}/{nick}"
    actor.client.send(f"<presence to='{pattern.escaped(address)}'><x xmlns='{MUC}'>{inside}</x></presence>")
    stage.until(lambda: any(is_end_of_history(e, room) or (e.tag == PRESENCE and e.get("type") == "error") for e in actor.inbox))
    mine = next((e for e in actor.inbox if e.tag == PRESENCE and e.get("from") == address and "110" in statuses(e)), None)
    if mine is None or not any(is_end_of_history(e, room) for e in actor.inbox):
        return f"{actor.name} did not enter {room}; {failure(actor)}"
    while not is_end_of_history(actor.inbox.popleft(), room):
        pass
    stage.settle()
    for other in stage.actors.values():
        seen = next((e for e in other.inbox if other is not actor and e.tag == PRESENCE and e.get("from") == address and e.get("type") is None), None)
        if seen is not None:
            other.inbox.remove(seen)
    return None


def make(stage, actor, room, nick, fields):
    """A room that was not there, configured: as all rooms are, or with these fields."""
    problem = enter(stage, actor, room, nick)
    if problem is None:
        actor.client.send(CONFIGURE.format(id="make-room", room=room, fields=fields))
        problem = answer(stage, actor, "make-room")
    return problem


def answer(stage, actor, identity):
    """Takes a result; returns what else came instead."""
    stage.until(lambda: any(e.tag == IQ and e.get("id") == identity for e in actor.inbox))
    came = next((e for e in actor.inbox if e.tag == IQ and e.get("id") == identity), None)
    if came is None or came.get("type") != "result":
        return f"expected a result; {failure(actor)}"
    actor.inbox.remove(came)
    return None


def condition_of(element):
    """Of an error; None: it is none."""
    error = element.find(ERROR) if element.get("type") == "error" else None
    return next((child.tag[len(STANZAS):] for child in error if child.tag.startswith(STANZAS) and not child.tag.endswith("}text")), None) if error is not None else None
