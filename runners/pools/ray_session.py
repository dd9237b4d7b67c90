"""The Ray session of this process: started in the background, or joined, and ended by who began it.

Starting Ray takes seconds, so a thread does it. The thread then stays until the session ends: Ray's
processes ask the kernel to be killed when the thread that began them ends, which also means that a
driver that is killed leaves none of them behind.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

ANSWER_SECONDS = 3.0
STOP_SECONDS = 30.0
# A client's half of the opening of HTTP/2, which gRPC and so Ray speaks, and an empty SETTINGS frame.
_HTTP2_OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = 4


def import_ray() -> Any:
    """Ray, told before it is imported not to call home, not to print the death of a worker, and to leave
    SIGTERM to this process, which then ends what it started."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    return ray


def check_address(address: str) -> None:
    """Refuses what cannot be the address of a cluster.

    Raises:
        ValueError: it is neither ``host:port`` nor ``auto``.
    """
    host, _, port = address.rpartition(":")
    if address != "auto" and not (host and "/" not in host and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(
            f"Ray address {address!r} is not host:port (as `ray start --head` prints it, usually port 6379) "
            "or auto"
        )


def probe(address: str) -> None:
    """Asks whether a Ray cluster can be behind an address; Ray itself would wait two minutes for it.

    Raises:
        ConnectionError: nothing answers within seconds, or something that is not Ray.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS) as connection:
            connection.sendall(_HTTP2_OPENING)
            answer = connection.recv(9)  # the header of a frame: length, type at byte 3, flags, stream
    except OSError as error:
        raise ConnectionError(
            f"no Ray cluster answers at {address} ({error}); start one with `ray start --head`, "
            "or leave the address out to evaluate on this machine"
        ) from error
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise ConnectionError(f"what answers at {address} is not a Ray cluster; the port is usually 6379")


def reach(address: str) -> None:
    """Checks that a cluster can be joined before hours are spent on what it is for; "" asks for none.

    Raises:
        ValueError: as ``check_address``.
        ConnectionError: as ``probe``.
    """
    if address:
        check_address(address)
    if address not in ("", "auto"):
        probe(address)


class RaySession:
    """A connection to Ray that opens in the background.

    A session that this process already has is joined and left open; otherwise one is opened and
    ``close`` ends it: processes started here stop, a cluster that was joined lives on.

    Args:
        address: ``host:port`` or ``auto`` to join a cluster, None to start Ray on this machine.
        cpus: slots to start with, one a worker.
        then: function called in the background once the session is open.
    """

    def __init__(self, address: str | None, cpus: int, then: Callable[[], None]) -> None:
        self._address = address
        self._cpus = cpus
        self._then = then
        self._owned = False
        self._failure: BaseException | None = None
        self._settled = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ray-session", daemon=True)
        self._thread.start()

    @property
    def settled(self) -> bool:
        """Whether it is open or has failed, so that ``wait`` returns at once."""
        return self._settled.is_set()

    def wait(self) -> None:
        """Waits until the session is open.

        Raises:
            ConnectionError: the cluster does not answer, or is of another version.
            ValueError: this process is already connected to another cluster.
        """
        self._settled.wait()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Ends what was begun here; waits for a start that is under way."""
        self._stop.set()
        self._thread.join(timeout=STOP_SECONDS)

    def _run(self) -> None:
        try:
            self._open()
            self._then()
        except BaseException as error:  # handed to whoever waits
            self._failure = error
        self._settled.set()
        if self._failure is None:
            self._stop.wait()
        if self._owned:
            import_ray().shutdown()

    def _open(self) -> None:
        ray = import_ray()
        if ray.is_initialized():
            self._join(ray.get_runtime_context().gcs_address)
            return
        if self._address not in (None, "auto"):
            probe(str(self._address))
        try:
            ray.init(
                address=self._address or "local",  # never what RAY_ADDRESS says behind the user's back
                num_cpus=None if self._address else self._cpus,
                include_dashboard=None if self._address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (Exception, SystemExit) as error:  # Ray leaves with SystemExit when a cluster falls silent
            where = f"join the Ray cluster at {self._address}" if self._address else "start Ray"
            raise ConnectionError(f"could not {where}: {' '.join(str(error).split())}") from error
        self._owned = True

    def _join(self, gcs_address: str) -> None:
        """Accepts the session that this process has, unless another cluster was asked for."""
        if self._address in (None, "auto", gcs_address):
            return
        host, _, port = str(self._address).rpartition(":")
        there, _, there_port = gcs_address.rpartition(":")
        if port != there_port or socket.gethostbyname(host) not in (there, "127.0.0.1"):
            raise ValueError(
                f"this process is connected to Ray at {gcs_address}; "
                f"close that before joining {self._address}"
            )
