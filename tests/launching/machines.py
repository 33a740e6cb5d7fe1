"""Two machines of their own for a test: network, process and mount namespaces, joined by one cable, each with its sshd.

Nothing outside them is reached: the cable (a veth pair) is all that they have beside their loopback, and its addresses
are those that RFC 5737 keeps for examples. A machine ends with the test that made it, however that ends, and by itself
after LIFETIME: its first process then ends, and with it all others in it, its network and the cable.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

LIFETIME = 1800  # seconds
ADDRESSES = ("192.0.2.1", "192.0.2.2")
NOBODY = "192.0.2.3"  # packets to it are sent, and nobody takes them
CABLE = "cable"
PROGRAMS = ("ip", "unshare", "nsenter", "setpriv", "mount", "ssh", "ssh-keygen", "sshd")
_SBIN = os.pathsep.join(["/usr/local/sbin", "/usr/sbin", "/sbin"])
_NAMESPACES = ["--net", "--uts", "--mount", "--pid"]


class NotHere(Exception):
    """Why this computer cannot have such machines."""


def program(name):
    found = shutil.which(name) or shutil.which(name, path=_SBIN)
    if not found:
        raise NotHere(f"no program {name} (on Debian: iproute2, util-linux, openssh-client, openssh-server)")
    return found


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise NotHere(f"{' '.join(map(str, command[:6]))}: {done.stderr.strip()}")
    return done.stdout


def new_key(path):
    run(program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path)
    return Path(f"{path}.pub").read_text().strip()


class Machine:
    """Namespaces whose first process sleeps. ``address`` and sshd come later, once the cable is there."""

    def __init__(self, folder, name):
        self.folder, self.name, self.address = folder, name, ""
        self._sshd = None
        folder.mkdir()
        self._outside = subprocess.Popen(
            [program("setpriv"), "--pdeathsig", "KILL", program("unshare"), *_NAMESPACES]
            + ["--fork", "--kill-child", "--mount-proc", "sleep", str(LIFETIME)],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.first = self._find_first()
        self.run("hostname", name)
        self.run(program("mount"), "-t", "tmpfs", "tmpfs", "/run")  # sshd wants an empty folder there
        self.run("mkdir", "/run/sshd")
        self.run(program("ip"), "link", "set", "lo", "up")

    def _find_first(self):
        children = Path(f"/proc/{self._outside.pid}/task/{self._outside.pid}/children")
        end = time.monotonic() + 10
        while time.monotonic() < end and self._outside.poll() is None:
            pids = children.read_text().split()
            if pids and Path(f"/proc/{pids[0]}/comm").read_text().strip() == "sleep":
                return int(pids[0])
            time.sleep(0.02)
        self._outside.kill()
        raise NotHere(f"no namespaces: {self._outside.communicate()[1].strip()}")

    def inside(self, *command):
        """The words of a command that runs in this machine, in its own folder unless it goes to another."""
        where = ["--target", str(self.first), f"--wd={self.folder}"]
        return [program("nsenter"), *where, *_NAMESPACES, "--", *map(str, command)]

    def run(self, *command):
        return run(*self.inside(*command))

    def set_link(self, state):
        self.run(program("ip"), "link", "set", CABLE, state)

    def start_ssh(self, allowed, key="host-key"):
        """(Re)start sshd with a host key of that name; returns the line for known_hosts."""
        if self._sshd:
            os.kill(self._sshd.pid, signal.SIGCONT)
            for pid, line in self.processes().items():
                if "sshd" in line:
                    os.kill(pid, signal.SIGKILL)
            self._sshd.wait()
        public = new_key(self.folder / key)
        config, log = self.folder / "sshd_config", self.folder / "sshd.log"
        config.write_text(
            f"ListenAddress {self.address}\nHostKey {self.folder / key}\nAuthorizedKeysFile {allowed}\nUsePAM no\n"
            "StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nPidFile none\n"
        )
        log.write_text("")
        self._sshd = subprocess.Popen(
            self.inside(program("sshd"), "-D", "-e", "-f", config), stderr=log.open("a"), stdin=subprocess.DEVNULL
        )
        end = time.monotonic() + 10
        while "Server listening" not in log.read_text():
            if time.monotonic() > end or self._sshd.poll() is not None:
                raise NotHere(f"sshd does not start: {log.read_text().strip()}")
            time.sleep(0.02)
        return f"{self.address} {public}\n"

    def freeze_ssh(self):
        """Its sshd answers no more, but the system still takes connections for it."""
        for pid, line in self.processes().items():
            if "sshd" in line:
                os.kill(pid, signal.SIGSTOP)

    def processes(self):
        """Number, as seen from outside, -> command line of what runs in it beside its first process."""
        space, found = os.readlink(f"/proc/{self.first}/ns/pid"), {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                ours = os.readlink(folder / "ns" / "pid") == space
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            if ours and line and int(folder.name) != self.first:
                found[int(folder.name)] = line
        return found

    def end(self):
        self._outside.kill()  # and its child, the machine's first process, with it, and all others with that
        self._outside.wait()
        if self._sshd:
            self._sshd.wait(timeout=10)


class TwoMachines:
    """A lab of two: the first is where things are launched. Raises NotHere."""

    def __init__(self, folder):
        if os.geteuid() != 0:
            raise NotHere("needs root, to make network namespaces")
        for name in PROGRAMS:
            program(name)
        self.folder, self.machines = folder, []
        try:
            self._build()
        except BaseException:
            self.end()
            raise

    def _build(self):
        for name in ("first", "second"):
            self.machines.append(Machine(self.folder / name, name))
        first, second = self.machines
        ip = program("ip")
        peer = ["peer", "name", CABLE, "netns", second.first]
        enter = [program("nsenter"), "--target", first.first, "--net", "--"]  # sees the other's number from outside
        run(*enter, ip, "link", "add", CABLE, "type", "veth", *peer)
        for machine, address in zip(self.machines, ADDRESSES):
            machine.address = address
            machine.run(ip, "address", "add", f"{address}/24", "dev", CABLE)
            machine.set_link("up")
        first.run(ip, "neighbour", "add", NOBODY, "lladdr", "02:00:00:00:00:99", "dev", CABLE)
        self.allowed = self.folder / "authorized_keys"
        self.allowed.write_text(new_key(self.folder / "user-key") + "\n")
        self.known = self.folder / "known_hosts"
        self.known.write_text("".join(machine.start_ssh(self.allowed) for machine in self.machines))
        # the real ssh, which only takes its settings from here and not from the home of whoever runs the tests
        settings = self.folder / "ssh_config"
        settings.write_text(
            f"IdentityFile {self.folder / 'user-key'}\nIdentitiesOnly yes\nUserKnownHostsFile {self.known}\n"
            "GlobalKnownHostsFile /dev/null\nUser root\n"
        )
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        ssh = self.bin / "ssh"
        ssh.write_text(f'#!/bin/sh\nexec {program("ssh")} -F {settings} "$@"\n')
        ssh.chmod(0o755)
        for address in ADDRESSES:
            first.run(ssh, "-o", "BatchMode=yes", address, "true")  # root may be locked out, say

    def end(self):
        for machine in self.machines:
            machine.end()
