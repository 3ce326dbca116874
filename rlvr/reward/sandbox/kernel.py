"""What the Linux kernel offers against a program that one does not trust, called through libc.

The jail's process imports this file alone, so it needs nothing but the standard library. Sources: seccomp(2),
landlock(7), user_namespaces(7) and the kernel's uapi headers.
"""

import contextlib
import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable, Iterator

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SIGKILL, _SECCOMP_FILTER, _CLONE_THREAD = 9, 2, 0x10000
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWIPC, _CLONE_NEWNS = 0x10000000, 0x40000000, 0x08000000, 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 2, 4, 0x4000, 1 << 18
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
# Bits of landlock's access rights, and the ABI in which each came.
_EXECUTE, _WRITE, _READ, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE = sum(1 << bit for bit in range(4, 13))  # remove and make files, folders, links, sockets, devices
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_FILE_RIGHTS = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL  # those that a rule on a single file may grant

# Syscall numbers: (x86_64, aarch64), None where an architecture has no such call.
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "prlimit64": (302, 261),
    "clone": (56, 220),
    "clone3": (435, 435),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "setpriority": (141, 140),
    "sched_setaffinity": (203, 122),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "swapon": (167, 224),
}
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("filter", ctypes.c_void_p))


_libc = ctypes.CDLL(None, use_errno=True)


def missing() -> str:
    """Why no program can be jailed on this machine; empty if one can."""
    if platform.system() != "Linux" or platform.machine() not in _ARCHITECTURES:
        return f"{platform.system()} on {platform.machine()} is none of Linux on {', '.join(_ARCHITECTURES)}"
    if _landlock_abi() < 1:
        return (
            "the kernel has no Landlock (Linux 5.13 or newer, with landlock among /sys/kernel/security/lsm)"
        )
    if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, None, 0, 0) == 0 or ctypes.get_errno() != errno.EFAULT:
        return "the kernel takes no seccomp filters (CONFIG_SECCOMP_FILTER)"
    return ""


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    _call(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG")


def hide_memory() -> None:
    """Keep this process's memory from others of the same user."""
    _call(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE")


def leave_networks() -> bool:
    """Move into a network of its own, without devices; whether the kernel allows that to this user."""
    user, group = os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWNS) != 0:
        return False
    for name, line in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)
    return True


def mount_small(folder: str, size: int) -> bool:
    """Mount a file system of `size` bytes on the folder, seen by this process only; after `leave_networks`."""
    private = _libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) == 0
    options = f"size={size},nr_inodes=1024,mode=700".encode()
    return private and _libc.mount(b"tmpfs", folder.encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, options) == 0


def restrict_files(readable: Iterable[str], writable: str) -> None:
    """Allow reading below the given paths and anything below `writable`; all else is refused from now on.

    Raises:
        OSError: the kernel refuses; nothing has been restricted.
    """
    handled = _EXECUTE | _WRITE | _READ | _READ_DIR | _MAKE
    abi = _landlock_abi()
    handled |= (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0) | (_IOCTL if abi >= 5 else 0)
    attributes = _Ruleset(
        handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0
    )  # bind, connect; sockets, signals
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    rules = _call(
        _libc.syscall(_LANDLOCK_CREATE, ctypes.byref(attributes), ctypes.c_size_t(size), 0), "landlock"
    )
    with _closing(rules):
        for path, rights in [
            *((p, _READ | _READ_DIR | _EXECUTE) for p in readable),
            (writable, handled & ~_EXECUTE),
        ]:
            with contextlib.suppress(FileNotFoundError):
                _allow(rules, path, rights & handled)
        _forbid_privileges()
        _call(_libc.syscall(_LANDLOCK_RESTRICT, rules, 0), "landlock")


def restrict_calls() -> None:
    """Refuse system calls that make processes, sockets or signals, or that look into other processes.

    Raises:
        OSError: the kernel refuses; nothing has been restricted.
    """
    column, architecture = _ARCHITECTURES[platform.machine()]
    numbers = {name: pair[column] for name, pair in _NUMBERS.items()}
    clone, clone3, prlimit = (numbers.pop(name) for name in ("clone", "clone3", "prlimit64"))
    denied = sorted(number for number in numbers.values() if number is not None)
    allow, refuse = (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050000 | errno.EPERM)
    lines = [
        (0x20, 0, 0, 4),  # the architecture: other tables of calls have other numbers
        (0x15, 1, 0, architecture),
        refuse,
        (0x20, 0, 0, 0),  # the call's number
        (0x35, 0, 1, 0x40000000),  # the x32 table begins here
        refuse,
        (0x15, 0, 1, clone3),  # its flags lie in memory, out of a filter's sight: libc falls back to clone
        (0x06, 0, 0, 0x00050000 | errno.ENOSYS),
        (0x15, 0, 4, clone),
        (0x20, 0, 0, 16),  # its flags: a thread may be made, a process may not
        (0x45, 0, 1, _CLONE_THREAD),
        allow,
        refuse,
        (0x15, 0, 4, prlimit),
        (0x20, 0, 0, 16),  # whose limits: 0 is its own, which libc asks for
        (0x15, 0, 1, 0),
        allow,
        refuse,
    ]
    for number in denied:
        lines += [(0x15, 0, 1, number), refuse]
    lines.append(allow)
    code = b"".join(struct.pack("HBBI", *line) for line in lines)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(lines), ctypes.addressof(buffer))
    _forbid_privileges()
    _call(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, ctypes.byref(program), 0, 0), "seccomp")


def _forbid_privileges() -> None:
    _call(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")


def _landlock_abi() -> int:
    return int(_libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1))


def _allow(rules: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    with _closing(descriptor):
        if not os.path.isdir(path):
            rights &= _FILE_RIGHTS
        rule = _PathRule(rights, descriptor)
        _call(_libc.syscall(_LANDLOCK_ADD, rules, 1, ctypes.byref(rule), 0), f"landlock, {path}")


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _call(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
