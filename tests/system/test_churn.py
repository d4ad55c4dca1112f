"""Many users at once who come, go, are cut, resume, are replaced and kicked, block each other and get carbon copies, while a compliance server answers late,
in any order, refuses, changes, is silent, and loses its link. Then everything stands still, and the books are checked: each message was delivered once to each
session it reached, or refused, or kept for its recipient, and nothing was delivered or copied that the compliance server did not let pass; sender's order is
kept; every request to the server was answered; rosters agree; nothing is under way, nobody is in memory, nothing leaked.

One user in four has plain streams that are cut: what was on them may be lost. Two of four have stream management (XEP-0198): of theirs nothing is lost, and only
what a session had not acknowledged when it ended may come to another one too.

SIGNET_CHURN_SEED picks another run, SIGNET_CHURN_SECONDS another length. Threads make no run quite like another."""
import random
import time

import pytest

from harness.churn import RESUME, ROSTER, SECONDS, SEED, Actor, Book, Churning, Session, clock
from harness.service import SLOW, Refused, quote, wait_until

USERS = 40


def trouble(book, service, compliance, names, dice, until):
    """Kicks, and a link that is cut and comes back."""
    cut_at = [until - SECONDS * SLOW * f for f in (0.7, 0.35)]
    while time.monotonic() < until:
        time.sleep(0.2 * SLOW)
        jid = f"{dice.choice(names)}@example.com" + dice.choice(("", "/desk", "/phone"))
        try:
            service.request("DELETE", f"/v1/sessions/{quote(jid)}")
        except Refused:
            pass
        if cut_at and time.monotonic() > cut_at[0]:
            cut_at.pop(0)
            book.link_cuts.append(time.monotonic() + 2)
            book.cut_clock.append(clock())
            compliance.cut()
            time.sleep(0.3 * SLOW)
            compliance.listen()


def at_rest(service):
    status = service.get("/v1/status")
    return status["stanzas_under_way"] == 0 and status["events_waiting"] == 0 and status["store"]["queue_depth"] == 0


def check_message(book, compliance, body, sent, late):
    """late: sessions of the second round, in which everybody fetches what was kept."""
    problems = []
    parties = (sent.to.split("/")[0], sent.session.bare)  # when one blocks the other, what was kept is dropped, and who has gone is not told
    blocked = parties in book.blocks or parties[::-1] in book.blocks
    for session in set(book.copies.get(body, [])):
        if book.copies[body].count(session) > 1:
            problems.append(f"was copied {book.copies[body].count(session)} times to {session.jid}")
        if (body, session.jid) not in compliance.passed_copies:
            problems.append(f"was copied to {session.jid} without es_IN's PASS")
    seen, errors = book.arrived.get(body, []), book.errors.get(body, [])
    for session in set(seen):
        if seen.count(session) > 1:
            problems.append(f"came {seen.count(session)} times to {session.jid}")
        if (body, session.jid) not in compliance.passed_in:
            problems.append(f"was delivered to {session.jid} without es_IN's PASS")
    kept = [s for s in seen if s in late]
    if kept and any(s not in late and body not in s.unsure for s in seen):
        problems.append(f"was delivered, to {[s.jid for s in seen if s not in late]}, and kept")
    if len(errors) > 1:
        problems.append(f"was refused {len(errors)} times")
    if errors and any(body not in s.unsure for s in seen):
        problems.append(f"was refused ({errors}) and delivered to {[s.jid for s in seen]}")
    if not seen and not errors and not book.received_copies.get(body):  # who has a copy is not given what another session did not acknowledge
        told_to_drop = body in compliance.refused_bodies
        cut = any(t > sent.time - 0.5 for t in book.cuts[sent.to.split("/")[0]])
        if sent.acknowledged() and not (told_to_drop or cut or blocked):
            problems.append("is lost")
    return problems


def subscriptions(session):
    items = session.client.iq("get", ROSTER)[0]
    return {i.get("jid"): i.get("subscription") for i in items}


@pytest.mark.parametrize("workers", [4])
def test_churn(services, closing, workers):
    service = services({"broker.event_timeout": int(1500 * SLOW), "broker.outage_window": int(4000 * SLOW), "c2s.session_window": 16,
                        "offline.retry": 1, "c2s.resume_timeout": int(RESUME), "c2s.ack_wait": 300}, workers=workers)
    names = [f"u{i}" for i in range(USERS)]
    service.user(*names)
    compliance = closing(Churning())
    compliance.script = compliance.judge
    service.profile("Churn", [(e, None, "bounce", False) for e in ("es_OUT", "e_DELIVER", "es_IN", "e_OFFLINE", "e_SERVER")]
                    + [(e, None, "pass", False) for e in ("e_SESSION", "es_END", "e_AUTH")])
    service.wait_link(service.compliance_server("churn", compliance.port, profile="Churn"), "ACTIVE")
    book, until = Book(), time.monotonic() + SECONDS * SLOW
    actors = [Actor(book, service, i, names, until) for i in range(USERS)]
    for a in actors:
        a.start()
    book.unseen = compliance.unseen
    trouble(book, service, compliance, names, random.Random(SEED), until)
    compliance.calm = True
    time.sleep(0.5 * SLOW)
    wait_until("the end of what is under way", lambda: at_rest(service), 30)
    time.sleep(0.5 * SLOW)  # clients read, and answer what they were asked
    wait_until("the end of the answers", lambda: at_rest(service), 30)
    time.sleep(0.3 * SLOW)
    online = [s for a in actors for s in a.sessions if s.ended is None and s.cut_at is None and not s.resuming]
    for s in online:
        s.last = True
        s.ask("get", ROSTER)
    end = time.monotonic() + 20 * SLOW
    while any(s.asked for s in online if s.ended is None and s.cut_at is None) and time.monotonic() < end:
        time.sleep(0.05)
    unanswered = [f"{s.jid}: {identity} {what}" for s in online if s.ended is None and s.cut_at is None for identity, what in list(s.asked.items())
                  if (s.bare, (what[2] or "").split("/")[0]) not in book.blocks]  # the answer of somebody blocked meanwhile is dropped
    for a in actors:
        a.still.set()
    for a in actors:
        a.join(60 * SLOW)
        assert a.failure is None and not a.is_alive(), (a.name_, repr(a.failure))
    wait_until("the end of all sessions", lambda: service.get("/v1/status")["sessions"] == 0, 20)
    wait_until("rest", lambda: at_rest(service), 20)
    wait_until("that nobody is in memory", lambda: service.metric("users_in_memory") == 0, 10)

    late = []
    for name in names:
        s = Session(book, service, name, "late")
        s.presence(0)
        late.append(s)
    wait_until("rest", lambda: at_rest(service), 20)
    rosters = {}
    for s in late:
        rosters[s.bare] = subscriptions(s)
        s.take()
    for _ in range(3):
        for s in late:
            s.read(0.01)
    wait_until("rest", lambda: at_rest(service), 20)
    for s in late:
        rosters[s.bare] = subscriptions(s)
        s.close()
    wait_until("the end of all sessions", lambda: service.get("/v1/status")["sessions"] == 0, 20)
    wait_until("rest", lambda: at_rest(service), 20)
    wait_until("that nobody is in memory", lambda: service.metric("users_in_memory") == 0, 10)

    wrong = book.wrong + book.out_of_order() + [f"unanswered: {u}" for u in unanswered]
    late = set(late)
    for body, sent in book.sent.items():
        problems = check_message(book, compliance, body, sent, late)
        wrong += [f"{body} from {sent.session.jid} ({sent.session.ended}) to {sent.to} ({sent.kind}) {p}" for p in problems]
    for bare, roster in rosters.items():
        for contact, subscription in roster.items():
            back = rosters[contact].get(bare, "none")
            if (bare, contact) in book.blocks or (contact, bare) in book.blocks:
                continue  # what either sent to end it did not arrive
            if subscription in ("to", "both") and back not in ("from", "both"):  # the reverse may come of stanzas that crossed, and shows nothing to anybody
                wrong.append(f"{bare} has {contact} as '{subscription}', which has it as '{back}'")
    seen = len([1 for b in book.sent if book.arrived.get(b)])
    print(f"{len(book.sent)} messages, {seen} arrived, {len(book.errors)} refused, {service.metric('offline_stored_total'):g} kept, "
          f"{service.metric('offline_left_total'):g} left; {len(book.copies)} copied; "
          f"{Session.numbers} sessions, {book.resumed} resumed, {sum(s.checked for s in online)} rosters; "
          f"{len(compliance.events)} events, {len(compliance.undecided)} undecided, {service.metric('events_failed_total', why='timeout'):g} timed out")
    for body in sorted({w.split()[0] for w in wrong} & book.sent.keys()):
        print(body, *book.evidence(body, compliance), sep="\n    ")
        sent = book.sent[body]
        service.telling += [sent.session.jid, sent.to.split("/")[0], "Component op-", *(e.stanza_id for _, e, *_ in compliance.asked[body])]
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:60])
