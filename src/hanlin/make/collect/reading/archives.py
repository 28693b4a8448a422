"""Archives: every member is copied out alone and read by its suffix's reader. Nothing is unpacked under its own name.

    .zip      PKWARE's APPNOTE 6.3; names in UTF-8, Big5 or GBK
    .tar      POSIX ustar and pax, GNU; alone or compressed, read in one pass

Links, devices, encrypted members and names that climb out are rejected, each with its reason; members that no reader
knows are counted in one note.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.archive_names import hidden, tar_name, unsafe, zip_names
from hanlin.make.collect.reading.reader import Reading, reader_of
from hanlin.make.collect.reading.unpacking import Broken, Unpacked, container, copy_out, damage, scratch_file

MAX_MEMBERS = 1_000_000

_TARS = {
    ".tar": "",
    ".tar.gz": ".gz",
    ".tgz": ".gz",
    ".tar.bz2": ".bz2",
    ".tbz2": ".bz2",
    ".tar.xz": ".xz",
    ".txz": ".xz",
    ".tar.zst": ".zst",
    ".tzst": ".zst",
}
SUFFIXES = (".zip", *_TARS)


@container
def read(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    """Rows of all members in the archive's order; ids and messages say archive!member."""
    members = Members(path, name, reading)
    if name.lower().endswith(".zip"):
        yield from _zip(path, members)
    else:
        suffix = max((suffix for suffix in _TARS if name.lower().endswith(suffix)), key=len)
        yield from _tar(path, _TARS[suffix], members)
    if unread := members.unread():
        reading.note(f"{path}: left out {unread}.")
    if not members.num_read:
        raise Broken(f"the archive holds nothing that can be read ({members.unread() or 'it is empty'})")


class Members:
    """What is done with an archive's members, whatever its format."""

    def __init__(self, path: Path, name: str, reading: Reading):
        self.path, self.name, self.reading = path, name, reading
        self.num_read = 0
        self._unknown: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()

    def wanted(self, member: str) -> bool:
        if hidden(member):
            return False
        if reader_of(member) is None:
            self._unknown[PurePosixPath(member).suffix.lower() or member] += 1
            return False
        self.num_read += 1
        return True

    def refused(self, member: str, why: str) -> Row:
        self.num_read += 1
        return self.reading.unreadable(self.inside(member), why)

    def inside(self, member: str) -> str:
        """The member's name in ids; an archive may hold several of one name."""
        self._seen[member] += 1
        again = f"~{self._seen[member]}" if self._seen[member] > 1 else ""
        return f"{self.name}!{self._again(member, again)}"

    def rows(self, copy: Path, member: str) -> Iterator[Row]:
        yield from self.reading.inner(copy, self.inside(member), f"{self.path}!{member}")

    def unread(self) -> str:
        return ", ".join(f"{count} × {suffix}" for suffix, count in self._unknown.most_common(8))

    @staticmethod
    def _again(member: str, again: str) -> str:
        place = PurePosixPath(member)
        return member if not again else str(place.with_name(f"{place.stem}{again}{place.suffix}"))


def _zip(path: Path, members: Members) -> Iterator[Row]:
    allowance = members.reading.allowance
    assert allowance is not None
    with damage():
        archive = zipfile.ZipFile(path)
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        _few_enough(len(entries))
        with damage():
            names = zip_names(entries)
        allowance.check(sum(entry.file_size for entry in entries))
        for entry, member in zip(entries, names):
            if problem := _zip_problem(entry, member):
                yield members.refused(member, problem)
            elif members.wanted(member):
                with scratch_file(members.reading, member) as copy:
                    try:
                        with damage():
                            stream = archive.open(entry)
                        with stream:
                            copy_out(stream, copy, allowance)
                    except Broken as error:
                        yield members.reading.unreadable(members.inside(member), str(error))
                        continue
                    yield from members.rows(copy, member)


def _zip_problem(entry: zipfile.ZipInfo, member: str) -> str:
    if unsafe(member):
        return "a path that leads out of the archive"
    if entry.flag_bits & 1:
        return "encrypted"
    mode = entry.external_attr >> 16
    # Unix packers store the file's type there: 0 (unknown) and 0o10 (a plain file) are read.
    return "a link or a device" if mode >> 12 not in (0, 0o10) else ""


def _tar(path: Path, compression: str, members: Members) -> Iterator[Row]:
    class Header(_Header):
        """Of this archive alone."""

    with Unpacked(path, compression, members.reading) as stream:
        with damage():
            archive = tarfile.open(fileobj=stream, mode="r|", tarinfo=Header, encoding="utf-8")  # noqa: SIM115
        with archive:
            for number, entry in enumerate(_entries(archive)):
                _few_enough(number)
                member = tar_name(entry.name)
                if entry.isdir():
                    continue
                if problem := _tar_problem(entry, member):
                    yield members.refused(member, problem)
                elif members.wanted(member):
                    with scratch_file(members.reading, member) as copy:
                        with damage(member):
                            content = archive.extractfile(entry)
                        assert content is not None
                        copy_out(content, copy)
                        if copy.stat().st_size < entry.size:
                            raise Broken(f"cut short in {member}")
                        yield from members.rows(copy, member)
            if not Header.ended:
                members.reading.note(f"{path} has no end mark: it may have been cut short.")


def _entries(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while True:
        with damage():
            entry = archive.next()
        if entry is None:
            return
        yield entry
        archive.members = []  # type: ignore[attr-defined]  # tarfile keeps them all


def _tar_problem(entry: tarfile.TarInfo, member: str) -> str:
    if unsafe(member):
        return "a path that leads out of the archive"
    if entry.issym() or entry.islnk() or entry.isdev():
        return "a link or a device"
    return "" if entry.isreg() and not entry.issparse() else "a file of an unusual kind"


class _Header(tarfile.TarInfo):
    """tarfile takes a broken header between two members for the end. Here it is an error. ended: the end mark, a
    block of zeros, has been seen; each archive has a class of its own."""

    ended = False

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        if len(buf) % tarfile.BLOCKSIZE:
            raise tarfile.ReadError("cut short")
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf.count(b"\0") != len(buf):
                raise tarfile.ReadError(f"a broken header ({error})") from None
            cls.ended = bool(buf)
            raise


def _few_enough(number: int) -> None:
    if number > MAX_MEMBERS:
        raise Broken(f"more than {MAX_MEMBERS:,} members")
