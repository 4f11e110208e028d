"""A Slurm cluster of one node on this machine, without accounting, systemd and cgroups, for the tests and for a try.

python -m tests.cluster.slurm_node starts one, prints how a shell finds it, and stops it on Ctrl-C.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# A requeued job waits for as long as its credential is valid, by default two minutes.
AuthInfo=socket={folder}/munge/socket,cred_expire=6
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
ReturnToService=2
EnforcePartLimits=ALL
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=5
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES DefaultTime=60 DefMemPerCPU=100 PriorityTier=1 GraceTime=20
PartitionName=high Nodes={host} DefMemPerCPU=100 PriorityTier=10 PreemptMode=OFF
"""


def missing_programs() -> list[str]:
    """Return the programs that a cluster needs and this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


@dataclass
class Node:
    """A running cluster; its partition ``high`` preempts jobs of ``debug``."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which Slurm's commands find the cluster."""
        return os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": PATH}

    def call(self, *command: str) -> str:
        """Run a command and return what it prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Start munged, slurmctld and slurmd, and wait until the node takes jobs."""
        for name in ("state", "spool", "log", "munge"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        key, host = self.folder / "munge" / "key", socket.gethostname().split(".")[0]
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 * 9 // 10
        user = self.call("id", "-un").strip()
        text = CONF.format(folder=self.folder, host=host, ports=_free_ports(), user=user, memory=memory)
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File=/dev/tty[0-1]\n")
        munge = [f"--{k}={self.folder}/munge/{v}" for k, v in (("key-file", "key"), ("socket", "socket"))]
        munge += [f"--{k}={self.folder}/munge/{k[:-5]}" for k in ("pid-file", "log-file", "seed-file")]
        self.call("munged", *munge)
        self.call("slurmctld", "-f", str(self.folder / "slurm.conf"))
        self.call("slurmd", "-f", str(self.folder / "slurm.conf"), "-N", host)
        deadline = time.monotonic() + 30
        while "idle" not in self.call("sinfo", "--noheader", "--format=%T"):
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.2)

    def stop(self) -> None:
        """End all jobs, and those of the three programs that :meth:`start` has started."""
        if (self.folder / "slurmctld.pid").exists():
            self.call("scancel", "--user", self.call("id", "-un").strip())
            deadline = time.monotonic() + 30
            while self.call("squeue", "--noheader") and time.monotonic() < deadline:
                time.sleep(0.2)
        for name in ("slurmd.pid", "slurmctld.pid", "munge/pid"):
            if (path := self.folder / name).exists():
                number = int(path.read_text())
                os.kill(number, signal.SIGTERM)
                while Path(f"/proc/{number}").exists():
                    time.sleep(0.1)

    def logs(self) -> str:
        """Return the ends of the logs."""
        return "\n".join(path.read_text()[-2000:] for path in sorted((self.folder / "log").glob("*.log")))


def _free_ports() -> list[int]:
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def main() -> None:
    """Start a cluster in a new folder, and stop it on Ctrl-C."""
    if missing := missing_programs():
        sys.exit(f"not found: {', '.join(missing)}; `make cluster-packages` installs them")
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        node = Node(Path(folder))
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            node.start()
            print(f"export SLURM_CONF={node.folder}/slurm.conf", flush=True)
            signal.pause()
        except KeyboardInterrupt:
            pass
        finally:
            node.stop()


if __name__ == "__main__":
    main()
