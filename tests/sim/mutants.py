#!/usr/bin/python3
"""Plants bugs in the broker, one at a time, and says after how many schedules the simulator finds each. By hand, after a change of the simulator or the broker:

    tests/sim/mutants.py build-asan [NAME...]

A bug that is not found means that the simulator lacks a check or never gets there. Nothing in the tree is changed: a mutated copy of one file is compiled with
the command of the build, and linked with the other objects of sim-fast."""
import os
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MOST = 1_000_000  # schedules

# name: file of src/broker, what stands there, what is put in its place
MUTANTS = {
    "answers-of-earlier-turns-count": ("hold.c", " && hold->turn == take->turn + 1;", ";"),
    "one-deadline-for-all-profiles": ("hold_step.c", "    hold->deadline_us = hold->h->ops->now_us(hold->h->owner) + hold->h->timeout_us;",
                                      "    if (hold->deadline_us == 0) hold->deadline_us = hold->h->ops->now_us(hold->h->owner) + hold->h->timeout_us;"),
    "one-hold-rerouted-only": ("hold.c", "    while (!list_empty(&view->holds)) {", "    for (int once = 0; once < 1 && !list_empty(&view->holds); once++) {"),
    "rerouted-to-the-lost-link": ("hold_step.c", "return link != u->except && link <", "return link <"),
    "time-out-not-told-to-link": ("hold.c", "        h->ops->forget(h->owner, hold->link, hold->id);\n        hold_take_back(hold);", "        hold_take_back(hold);"),
    "outage-never-bounces": ("hold_step.c", "    if (hold_row(hold)->refusable && hold_step(hold)->bounce) return hold_refuse(hold, true,",
                             "    if (hold->step > 1 && hold_step(hold)->bounce) return hold_refuse(hold, true,"),
    "plan-swapped-under-a-hold": ("hold_step.c", "    uint32_t link = hold_choose(hold, LINK_ID_NONE);",
                                  "    struct plan_chain now = plan_chain_of(hold->h->plan, hold->event->id, packet_type_of(hold->event->subject));\n"
                                  "    if (now.n_steps == hold->chain.n_steps) hold->chain = now;\n    uint32_t link = hold_choose(hold, LINK_ID_NONE);"),
    "forget-and-bounce-goes-on": ("hold_step.c", "    if (discard) return hold_finish(hold, VERDICT_DISCARD);\n", "    (void)discard;\n"),
    "refusal-beyond-refusable": ("hold_step.c", "    if (!hold_row(hold)->refusable) {\n        hold_report(hold, HOLD_OVERRULED", "    if (false) {\n        hold_report(hold, HOLD_OVERRULED"),
    "verdict-told-twice": ("hold.c", "        hold->done(hold->arg, &verdict);\n", "        hold->done(hold->arg, &verdict);\n        if (hold->step == 3) hold->done(hold->arg, &verdict);\n"),
    "lane-reach-not-carried": ("lane.c", "    if (limit.reach < reach) reach = limit.reach;\n", ""),
    "lane-waits-for-nobody": ("lane.c", "return place < limit.reach && era_of(place) >= limit.era;", "return true;"),
    "lane-more-ignored": ("lane.c", "    if (!e->asked || e->more) bound = stage;", "    if (!e->asked) bound = stage;"),
    "lane-quiet-ignored": ("lane.c", "    if (e->quiet) bound = UINT64_MAX;\n", ""),
    "lane-waits-for-verdicts": ("lane.c", "uint64_t allows = ask->last ? stage + place_of(1, 0, 0) : ask->sent ? ask->place + 1 : ask->place;", "uint64_t allows = ask->place;"),
    "lane-first-behind-head": ("lane.c", "    while (before != &lane->entries && entry_of(before)->first) before = before->next;",
                               "    while (before != &lane->entries && entry_of(before)->told) before = before->next;"),
    "lane-eras-ignored": ("lane.c", "return place < limit.reach && era_of(place) >= limit.era;", "return place < limit.reach;"),
    "gate-lets-barrier-early": ("gate.c", "(!entry->barrier || g->under_way == 0)", "(!entry->barrier || g->under_way <= 1)"),
    "gate-overtaken": ("gate.c", "if (!list_empty(&g->held_back) || g->beginning || ", "if (g->beginning || "),
    "gate-barrier-holds-nothing": ("gate.c", "return !g->barrier && (", "return (g->under_way < 2 || !g->barrier) && ("),
    "window-one-too-many": ("window.c", ": w->open >= limit;", ": w->open > limit;"),
    "window-ticket-lost": ("window.c", "if (copies != NULL && *copies > 0) *copies += more;", "if (copies != NULL && *copies > 1) *copies += more;"),
    "resent-under-a-new-number": ("link.c", "        bool resent = e->sent_before;\n",
                                  "        bool resent = e->sent_before;\n        if (resent) {\n            imap_del(&l->by_number, e->number);\n"
                                  "            e->number = l->next_number++;\n            imap_put(&l->by_number, e->number, e);\n        }\n"),
    "resent-backwards": ("link.c", "CONTAINER_OF(l->sent.prev, struct entry, node);", "CONTAINER_OF(l->sent.next, struct entry, node);"),
    "outage-window-returns-nothing": ("link.c", "        if (from == LINK_QUEUEING) (void)state_move(&link_machine, l->name, &l->state, LINK_GONE);\n        link_return_all(l);",
                                      "        if (from == LINK_QUEUEING) (void)state_move(&link_machine, l->name, &l->state, LINK_GONE);"),
    "graceful-end-keeps": ("link.c", "    if (was_active && !graceful && l->limits", "    if (was_active && l->limits"),
    "one-outstanding-too-many": ("link.c", "l->n_sent < l->limits.outstanding", "l->n_sent <= l->limits.outstanding"),
    "answer-to-what-waits": ("link.c", "if (e == NULL || !e->is_sent) {", "if (e == NULL) {"),
    "forget-sends-nothing-on": ("link.c", "    l->ops->dropped(l->owner, &request);\n    link_pump(l);\n", "    l->ops->dropped(l->owner, &request);\n"),
    "ping-unanswered-for-ever": ("link.c", "l->pinged != 0 && now_ms >= l->ping_due", "l->pinged != 0 && now_ms >= l->ping_due + 100000"),
    "packet-types-ignored": ("plan.c", ": (row->packets & 1u << packet) != 0;", ": row->packets != 0;"),
    "priority-backwards": ("plan.c", "for (unsigned i = 0; i < c->n_profiles; i++) compile_profile(", "for (unsigned i = c->n_profiles; i-- > 0;) compile_profile("),
    "unusable-link-chosen": ("plan.c", "        if (!usable(arg, link->id)) continue;\n", "        if (i == 0 && !usable(arg, link->id)) continue;\n"),
    "key-of-one-direction": ("key.c", "bool in_order = str_cmp(a, b) < 0;", "bool in_order = true;"),
}


def commands(build):
    out = subprocess.run(["ninja", "-C", build, "-t", "commands", "tests/sim/sim-fast"], capture_output=True, text=True, check=True).stdout
    return out.splitlines()


def mutate(build, name, folder, lines):
    source, old, new = MUTANTS[name]
    with open(f"{ROOT}/src/broker/{source}") as f:
        text = f.read()
    if text.count(old) != 1:
        return f"its place in {source} is there {text.count(old)} times"
    with open(f"{folder}/{source}", "w") as f:
        f.write(text.replace(old, new))
    (compile_line,) = [line for line in lines if "sim-fast.p" in line and re.search(rf"-c \S*src/broker/{source}$", line)]
    words = shlex.split(compile_line)
    words[words.index("-o") + 1] = f"{folder}/mutant.o"
    words[-1] = f"{folder}/{source}"
    object_name = shlex.split(compile_line)[shlex.split(compile_line).index("-o") + 1]
    done = subprocess.run(words + ["-Wno-error"], cwd=build, capture_output=True, text=True)
    if done.returncode != 0:
        return done.stderr
    link = [f"{folder}/mutant.o" if word == object_name else word for word in shlex.split(lines[-1])]
    link[link.index("-o") + 1] = f"{folder}/sim"
    subprocess.run(link, cwd=build, check=True)
    return None


def hunt(folder):
    try:
        done = subprocess.run([f"{folder}/sim", "--schedules", str(MOST), "--no-shrinking"], capture_output=True, text=True, timeout=200)
    except subprocess.TimeoutExpired:
        return True, "it never ends"
    seed = re.search(r"seed (\d+)", done.stderr)
    said = done.stderr.strip().splitlines()[:1]
    return done.returncode != 0, f"after {seed[1] if seed else '?'} schedules: {said[0] if said else done.returncode}"


def main():
    build = os.path.abspath(sys.argv[1])
    missed = 0
    lines = commands(build)
    for name in sys.argv[2:] or MUTANTS:
        with tempfile.TemporaryDirectory() as folder:
            problem = mutate(build, name, folder, lines)
            found, said = (False, f"cannot be planted: {problem}") if problem else hunt(folder)
        missed += not found
        print(f"{name:32} {'found' if found else 'NOT FOUND'} {said}", flush=True)
    return missed > 0


if __name__ == "__main__":
    sys.exit(main())
