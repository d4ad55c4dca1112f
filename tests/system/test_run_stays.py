"""./run without --once: stays, says how to log in, stops both programs on Ctrl-C and on SIGTERM; what it says when it cannot do what it is asked.
The programs are those of the build under test, in a tree of their own whose build has nothing left to do (test_run.py builds a clone)."""
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from harness.programs import BUILD, SOURCE, Program
from harness.service import SLOW

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("SIGNET_")}


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "signet"
    (root / "tools").mkdir(parents=True)
    (root / "build").mkdir()
    shutil.copy(SOURCE / "run", root)
    for name in ("common.sh", "send_one.py"):
        shutil.copy(SOURCE / "tools" / name, root / "tools")
    (root / "build" / "build.ninja").write_text("")
    for name in ("src", "servers"):
        (root / "build" / name).symlink_to(BUILD / name)
    yield root
    assert left(root) == []


def left(root):
    """The processes whose command line names the folder."""
    found = []
    for folder in pathlib.Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and str(root).encode() in (folder / "cmdline").read_bytes():
                found.append((folder / "cmdline").read_text())
        except OSError:
            pass
    return found


def programs(root):
    return sorted(re.search(r"/(signet[\w-]*)\0", line)[1] for line in left(root) if re.search(r"/(signet[\w-]*)\0", line))


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_stays_and_stops(tree, closing, sig):
    var = tree.parent / "state"
    env = {**ENVIRONMENT, "SIGNET_VAR": str(var)}
    run = closing(Program(tree / "run", env={"SIGNET_VAR": str(var)}, cwd=tree))
    run.wait_for("Ctrl-C stops it", 60)
    shown = "\n".join(run.lines)
    assert f"password {(var / 'romeo.password').read_text().strip()}" in shown and "juliet@localhost" in shown
    assert programs(tree.parent) == ["signet-recorder", "signetd"]

    # A second one on the same folder is refused and disturbs nothing.
    second = subprocess.run([tree / "run"], cwd=tree, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * SLOW)
    assert second.returncode == 1 and f"error: Signet runs already on {var}" in second.stderr, second.stderr
    assert programs(tree.parent) == ["signet-recorder", "signetd"]
    status = subprocess.run([tree / "build" / "bin" / "signetctl", "status"], env={**env, "SIGNET_ADMIN_SOCKET": str(var / "admin.sock")}, capture_output=True)
    assert status.returncode == 0

    # To the whole group, as a terminal does it.
    os.killpg(run.process.pid, sig)
    assert run.wait(30) == 0 and any(line.endswith("stopping") for line in run.lines), run.lines
    assert programs(tree.parent) == []
    log = (var / "signetd.log").read_text()
    assert "is GONE" in log and "Sanitizer" not in (var / "signetd.out").read_text() + (var / "recorder.log").read_text(), log[-2000:]


def test_says_what_it_takes(tree):
    out = subprocess.run([tree / "run", "--twice"], cwd=tree, env=ENVIRONMENT, capture_output=True, text=True)
    assert out.returncode == 1 and "--once or nothing" in out.stderr
    out = subprocess.run([tree / "run", "--help"], cwd=tree, env=ENVIRONMENT, capture_output=True, text=True)
    assert out.returncode == 0 and "./run --once" in out.stdout


def restricted(folder, **scripts):
    """A PATH of only what ./run needs to look for packages; scripts take the place of programs."""
    folder.mkdir()
    for name in ("bash", "dirname", "grep", "sed"):
        (folder / name).symlink_to(shutil.which(name))
    for name, text in scripts.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
        path.chmod(0o755)
    return {**ENVIRONMENT, "PATH": str(folder)}


MISSING = '[ "${!#}" = libuv1-dev ] || echo installed'


@pytest.mark.parametrize("scripts,says", [
    ({"dpkg_query": MISSING, "id": "echo 1000", "apt_get": "exit 9"}, "error: these Debian packages are needed; install them as root: apt-get install libuv1-dev\n"),
    ({"dpkg_query": MISSING, "id": "echo 1000"}, "error: these Debian packages are needed: libuv1-dev\n"),
], ids=["not-root", "not-Debian"])
def test_missing_packages(tree, tmp_path, scripts, says):
    out = subprocess.run([tree / "run"], cwd=tree, env=restricted(tmp_path / "path", **scripts), capture_output=True, text=True)
    assert (out.returncode, out.stderr) == (1, says)


def test_missing_packages_with_sudo(tree, tmp_path):
    """It says what it installs, and asks sudo to do it."""
    env = restricted(tmp_path / "path", dpkg_query=MISSING, id="echo 1000", apt_get="exit 9", sudo='echo "sudo: $*"; exit 7')
    out = subprocess.run([tree / "run"], cwd=tree, env=env, capture_output=True, text=True)
    assert out.returncode == 7 and "installing Debian packages: libuv1-dev" in out.stdout and "sudo: apt-get update" in out.stdout
