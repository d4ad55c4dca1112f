"""The documentation is right: every command it shows is run here or stands in NOT_RUN with the reason, every link leads somewhere, every path and option
it names exists, the man pages render.

A fenced block of ```sh is one script, run by bash in a folder that looks like the repository after ./run: build/ is the build under test, var/ has the
recorder's database and the passwords. A comment before a block says more:  <!-- file: NAME -->  keep the block (of any language) under this name;
<!-- shows: WORDS -->  these words come out;  <!-- never: WORDS -->  and these do not;  <!-- goes on -->  it runs until interrupted.
docs/compliance.md, which begins with nothing configured, has a service of its own."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from harness.client import Client
from harness.programs import BUILD, Recorder, free_port
from harness.service import BIN, PASSWORD, SLOW, Service

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lint"))
import source  # noqa: E402

PAGES = sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md"))
MANUALS = sorted((ROOT / "man").glob("*.[1-8]"))

# First line of a block, or a line of a manual: why it isn't run.
NOT_RUN = {
    "./run          # installs what is missing, builds, starts signetd and a recorder, makes two users, says how to log in; Ctrl-C stops":
        "installs packages; test_run.py and test_run_stays.py run it",
    "apt-get install go-sendxmpp profanity": "installs packages",
    "profanity -a juliet@localhost                  # in it: /connect juliet@localhost server localhost port 5222 tls trust": "needs a terminal",
    "./check                       # everything, as CI does": "is what runs this test",
    "build-asan/tests/sim/sim-fast --minutes 10 --seed $RANDOM          # about 20,000 short schedules a second; ./check runs a million":
        "takes minutes; the suite sim runs the same programs",
}
# What goes on until it is interrupted, by its first words, in the manuals, which have no place for a mark.
GOES_ON = ("signet-recorder serve", "signet-recorder tail", "signetctl events watch")
# The fixed names of the pages, and what they are here.
PORTS = ("5222", "5275", "7999", "7998", "7801")
GUIDE = ROOT / "docs" / "compliance.md"

FENCE = re.compile(r"((?:^<!--[^\n]*-->\n)*)^```(\w*)\n(.*?)^```$", re.M | re.S)
MARK = re.compile(r"<!-- ([a-z ]+?)(?:: (.*?))? -->")


class Block:
    def __init__(self, page, line, language, text, marks=()):
        self.page, self.line, self.language, self.text, self.marks = page, line, language, text, dict(marks)
        self.first = text.split("\n", 1)[0]
        self.goes_on = "goes on" in self.marks

    def __repr__(self):
        return f"{self.page.name}:{self.line}"


def blocks_of_page(page):
    text = page.read_text()
    for m in FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, m.start(2)) + 1, m[2], m[3], MARK.findall(m[1]))


def blocks_of_manual(page):
    """Each command of EXAMPLES: a line and its continuations."""
    text = page.read_text()
    section = re.search(r"^\.SH EXAMPLES\n(.*?)(?=^\.SH |\Z)", text, re.M | re.S)
    if section is None:
        return
    for m in re.finditer(r"^\.nf\n(.*?)^\.fi", section[1], re.M | re.S):
        plain = re.sub(r"\\\\(?=\n)|\\e(?=\n)", "", m[1]).replace("\\-", "-").replace("\\e", "\\").replace("\\&", "")
        for command in re.sub(r"\n\s+", " ", plain).splitlines():
            yield Block(page, 0, "sh", command, {"goes on": ""} if command.startswith(GOES_ON) else {})


BLOCKS = [b for p in PAGES for b in blocks_of_page(p)] + [b for p in MANUALS for b in blocks_of_manual(p)]


class World:
    """A service as ./run makes it, and a folder for each page."""
    domains, node = "localhost example.com", "demo.localhost"

    def __init__(self, folder):
        self.folder, self.lasting, self.out = folder, [], {}
        self.service = Service(domains=self.domains, node=self.node)
        self.service.user("romeo", "juliet")
        self.juliet = Client(self.service, "juliet", "garden")
        self.ports = {"5222": self.service.port, "5275": self.service.port_component, **{p: free_port() for p in ("7999", "7998", "7801")}}
        self.recorder = self.begin()

    def begin(self):
        return Recorder(self.service).assign()

    def files(self):
        """What lies in the folder, and what it leads to; and the files with a password."""
        return ({"build": BUILD, "sdk": ROOT / "sdk", "var/recorder.db": self.recorder.database, "var/admin.sock": self.service.options["admin.socket"]},
                ("var/romeo.password", "var/juliet.password", "recorder.password", "archive.password"))

    def of_page(self, page):
        folder = self.folder / page.name
        if not folder.exists():
            links, passwords = self.files()
            (folder / "var").mkdir(parents=True)
            for name, target in links.items():
                (folder / name).symlink_to(target)
            for name in passwords:
                (folder / name).write_text(PASSWORD + "\n")
                (folder / name).chmod(0o600)
        return folder

    def local(self, text):
        text = re.sub(r"\b(" + "|".join(PORTS) + r")\b", lambda m: str(self.ports[m[0]]), text)
        # A program linked with a sanitized library must have the sanitizer first.
        sanitizer = os.environ.get("SIGNET_SANITIZER", "none")
        compiler = os.environ.get("SIGNET_CC", "gcc") + ("" if sanitizer == "none" else f" -fsanitize={sanitizer}")
        return re.sub(r"^gcc ", compiler + " ", text, flags=re.M)

    def start(self, block):
        env = {k: v for k, v in os.environ.items() if k != "SIGNET_ADMIN_SOCKET"}
        env.update(PATH=f"{BIN}:/usr/local/bin:/usr/bin:/bin", HOME=str(self.folder), SIGNET_ADMIN_SOCKET=str(self.service.options["admin.socket"]))
        out = open(self.folder / f"{block.page.name}.{block.line}.out", "ab")
        return out.name, subprocess.Popen(["bash", "-euo", "pipefail", "-c", self.local(block.text)], cwd=self.of_page(block.page), env=env,
                                          stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)

    def run(self, block):
        name, process = self.start(block)
        if block.goes_on:
            self.lasting.append((block, name, process))
            time.sleep(1 * SLOW)
            assert process.poll() is None, f"{block}: it ended: {pathlib.Path(name).read_text()}"
            return
        try:
            status = process.wait(60 * SLOW)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = "nothing: it goes on"
        out = pathlib.Path(name).read_text()
        assert status == 0, f"{block} ended with {status}: {out}"
        self.shown(block, name)
        assert not [w for w in block.marks.get("never", "").split() if w in pathlib.Path(name).read_text()], f"{block}: {pathlib.Path(name).read_text()}"

    @staticmethod
    def shown(block, name):
        end = time.monotonic() + 5 * SLOW
        while missing := [w for w in block.marks.get("shows", "").split() if w not in pathlib.Path(name).read_text()]:
            assert time.monotonic() < end, f"{block} does not show {missing}: {pathlib.Path(name).read_text()}"
            time.sleep(0.1)

    def close(self):
        """What goes on ends when it is interrupted, and has shown by then what it should."""
        try:
            for block, name, process in self.lasting:
                self.shown(block, name)
                assert process.poll() in (None, 0), f"{block} has ended: {pathlib.Path(name).read_text()}"
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGINT)
                process.wait(20 * SLOW)
                assert "runtime error" not in pathlib.Path(name).read_text() and "Sanitizer" not in pathlib.Path(name).read_text(), block
        finally:
            for _, _, process in self.lasting:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            self.juliet.close()
            if self.recorder is not None:
                self.recorder.close()
            self.service.close()


class Guide(World):
    """Nothing is configured yet. The wall of docs/sdk.md lies there."""
    domains, node = "example.com", "chat1.example.com"

    def begin(self):
        return None

    def files(self):
        wall = next(b for b in BLOCKS if b.page.name == "sdk.md" and b.marks.get("file") == "wall.c")
        (self.folder / "wall.c").write_text(wall.text)
        return {"build": BUILD, "sdk": ROOT / "sdk", "wall.c": self.folder / "wall.c"}, ("romeo.password",)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    made = {}

    def of(page):
        kind = Guide if page == GUIDE else World
        if kind not in made:
            made[kind] = kind(tmp_path_factory.mktemp("docs"))
        return made[kind]

    yield of
    for w in made.values():
        w.close()


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "sh" or "file" in b.marks], ids=repr)
def test_commands(worlds, block):
    if block.first in NOT_RUN:
        return
    world = worlds(block.page)
    if "file" in block.marks:
        (world.of_page(block.page) / block.marks["file"]).write_text(world.local(block.text))
    if block.language == "sh":
        world.run(block)


def test_every_block_says_what_it_is():
    unknown = [f"{b}: {b.language!r}" for b in BLOCKS if b.language not in ("sh", "c", "python", "xml", "text", "ini")]
    assert not unknown, "commands stand in blocks of ```sh, which are run; other text in ```text"
    assert not [r for r in NOT_RUN if not any(b.first == r for b in BLOCKS)], "NOT_RUN names what no page shows"


def anchors(text):
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_links_lead_somewhere():
    dead = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            full = page.parent / path if path else page
            if not full.exists() or (anchor and anchor not in anchors(full.read_text())):
                dead.append(f"{page.name}: {target}")
    assert not dead


def test_paths_exist():
    folders = "|".join(p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith((".", "build", "var")))
    missing = []
    for page in PAGES:
        for path in re.findall(rf"`((?:{folders})/[\w./*+-]*)", page.read_text()):
            if not any(ROOT.glob(path.rstrip("/"))):
                missing.append(f"{page.name}: {path}")
    assert not missing


def test_options_exist():
    rows = re.findall(r'^OPTION\((\w+), (\w+),', source.code(source.read(str(ROOT), "src/tables/options.def"), keep_strings=True), re.M)
    assert len(rows) > 20
    known, sections = {f"{s}.{n}" for s, n in rows}, "|".join({s for s, _ in rows})
    unknown = [f"{p.name}: {o}" for p in PAGES for o in re.findall(rf"`((?:{sections})\.[a-z_]+)`", p.read_text()) if o not in known]
    assert not unknown


@pytest.mark.parametrize("page", MANUALS, ids=lambda p: p.name)
def test_manual_renders(page):
    out = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", page], capture_output=True, text=True, env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8"})
    assert out.returncode == 0 and out.stderr == "" and "NAME" in out.stdout, out.stderr
