"""./run --once from a fresh clone: builds, starts everything, sends one witnessed message with slixmpp, shows es_OUT and es_IN, exits 0."""
import os
import subprocess

from harness.programs import SOURCE


def test_run_once(tmp_path):
    clone = tmp_path / "signet"
    subprocess.run(["git", "clone", "-q", "--no-local", SOURCE, clone], check=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SIGNET_", "ASAN_", "UBSAN_", "TSAN_"))}
    for _ in range(2):  # the second time from what the first left behind
        out = subprocess.run(["./run", "--once"], cwd=clone, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=500)
        assert out.returncode == 0, out.stdout[-3000:] + out.stderr[-3000:]
        assert "es_OUT" in out.stdout and "es_IN" in out.stdout, out.stdout
    left = subprocess.run(["pgrep", "-f", str(clone)], capture_output=True, text=True).stdout
    assert left == "", "nothing is left running"
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, check=True, capture_output=True, text=True).stdout
    assert status == "", "and nothing untracked in the clone"
