"""The process behind `support/fuse.py`. It imports nothing that takes long: most of a test's time would go into that.

Run as `python -I -S fuse_server.py FOLDER MOUNT_POINT [direct]`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import stat
import struct
import sys
from contextlib import suppress

_LIBC = ctypes.CDLL(None, use_errno=True)
_MS_RDONLY = 1
_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _RELEASE, _FLUSH, _INIT = 1, 2, 3, 14, 15, 18, 25, 26
_READLINK, _STATFS = 5, 17
_OPENDIR, _READDIR, _RELEASEDIR, _INTERRUPT, _BATCH_FORGET = 27, 28, 29, 36, 42
_HEAD_IN = struct.Struct("=IIQQIIIHH")
_HEAD_OUT = struct.Struct("=IiQ")
_ATTR = struct.Struct("=6Q10I")
_DIRECT_IO = 1
_PR_SET_PDEATHSIG = 1
_LARGEST = 1 << 20


class _Server:
    def __init__(self, folder: str, direct: bool) -> None:
        self._root = os.open(folder, os.O_PATH | os.O_DIRECTORY)  # the mount point may hide it
        self._paths = {1: "."}
        self._nodes = {".": 1}
        self._flags = _DIRECT_IO if direct else 0

    def mount(self, mount_point: str) -> None:
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
        if _LIBC.mount(b"slowdisk", os.fsencode(mount_point), b"fuse", _MS_RDONLY, options.encode()):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def serve(self) -> None:
        while True:
            request = os.read(self._device, _LARGEST + 4096)
            _, code, unique, node, *_ = _HEAD_IN.unpack_from(request)
            if code in (_FORGET, _BATCH_FORGET, _INTERRUPT):
                continue
            try:
                error, answer = 0, self._answer(code, node, request[_HEAD_IN.size :])
            except OSError as failed:
                error, answer = -(failed.errno or errno.EIO), b""
            with suppress(FileNotFoundError):  # who asked does not wait any more
                os.write(self._device, _HEAD_OUT.pack(_HEAD_OUT.size + len(answer), error, unique) + answer)

    def _answer(self, code: int, node: int, body: bytes) -> bytes:
        if code == _INIT:
            minor = struct.unpack_from("=II", body)[1]
            return struct.pack("=IIIIHHIIHHI28x", 7, min(minor, 31), 131_072, 0, 12, 9, 131_072, 1, 32, 0, 0)
        path = self._paths[node]
        if code == _LOOKUP:
            path = os.path.normpath(f"{path}/{os.fsdecode(body.rstrip(bytes(1)))}")
            attributes = self._attributes(path)
            found = self._nodes.setdefault(path, len(self._nodes) + 1)
            self._paths[found] = path
            return struct.pack("=QQQQII", found, 0, 0, 0, 0, 0) + attributes
        if code == _GETATTR:
            return struct.pack("=QII", 0, 0, 0) + self._attributes(path)
        if code == _READLINK:
            return os.fsencode(os.readlink(path, dir_fd=self._root))
        if code == _OPEN:
            return struct.pack("=QII", os.open(path, os.O_RDONLY, dir_fd=self._root), self._flags, 0)
        if code == _READ:
            fh, offset, size = struct.unpack_from("=QQI", body)
            return os.pread(fh, size, offset)
        if code == _RELEASE:
            os.close(struct.unpack_from("=Q", body)[0])
            return b""
        if code == _OPENDIR:
            return bytes(16)
        if code == _READDIR:
            return self._entries(path, struct.unpack_from("=QQ", body)[1])
        if code == _STATFS:
            return bytes(80)
        if code in (_RELEASEDIR, _FLUSH):
            return b""
        raise OSError(errno.ENOSYS, "")

    def _attributes(self, path: str) -> bytes:
        found = os.stat(path, dir_fd=self._root, follow_symlinks=False)
        times = (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
        return _ATTR.pack(
            found.st_ino, found.st_size, found.st_blocks, *(time // 10**9 for time in times), *(time % 10**9 for time in times),
            found.st_mode, found.st_nlink, found.st_uid, found.st_gid, 0, 4096, 0,
        )  # fmt: skip

    def _entries(self, path: str, after: int) -> bytes:
        listed = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._root)
        try:
            names = sorted(os.listdir(listed))
        finally:
            os.close(listed)
        answer = b""
        for number, name in enumerate(names[after : after + 10], after + 1):
            found, raw = os.stat(f"{path}/{name}", dir_fd=self._root, follow_symlinks=False), os.fsencode(name)
            answer += struct.pack("=QQII", found.st_ino, number, len(raw), stat.S_IFMT(found.st_mode) >> 12) + raw
            answer += bytes(-len(answer) % 8)
        return answer


def _main(folder: str, mount_point: str, *options: str) -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    server = _Server(folder, "direct" in options)
    try:
        server.mount(mount_point)
    except OSError as error:
        print(error.strerror, flush=True)
        return
    print("mounted", flush=True)
    try:
        server.serve()
    except OSError as error:
        if error.errno != errno.ENODEV:  # unmounted
            raise


if __name__ == "__main__":
    _main(*sys.argv[1:])
