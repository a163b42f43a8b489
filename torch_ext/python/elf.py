"""The dynamic section of a shared object: what it needs, and where the linker shall look for it."""

import struct

_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_SONAME, _DT_RPATH, _DT_STRSZ, _DT_RUNPATH = (
    0, 1, 5, 14, 15, 10, 29)
_SHT_DYNAMIC, _SHT_DYNSYM, _SHT_VERDEF, _SHT_VERNEED = 6, 11, 0x6FFFFFFD, 0x6FFFFFFE


class SharedObject:
    """A 64-bit little-endian ELF file in memory; `data` holds its bytes."""

    def __init__(self, data):
        self.data = bytearray(data)
        if self.data[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a 64-bit little-endian ELF file")
        self._sections = self._read_sections()
        self._dynamic = self._read_dynamic()
        self._strings = self._section(_SHT_DYNAMIC)["link"]

    def needed(self):
        """Names of the libraries that it is linked against."""
        return [self._string(value) for tag, value in self._dynamic if tag == _DT_NEEDED]

    def search_path(self):
        """Its RUNPATH or RPATH, or an empty string."""
        return "".join(self._string(value) for tag, value in self._dynamic
                       if tag in (_DT_RUNPATH, _DT_RPATH))

    def set_search_path(self, path):
        """Puts `path` in the place of the search path, which must exist and be as long or longer."""
        offsets = [value for tag, value in self._dynamic if tag in (_DT_RUNPATH, _DT_RPATH)]
        if len(offsets) != 1:
            raise ValueError("it has %d search paths, expected one" % len(offsets))
        begin = offsets[0]
        end = begin + len(self._string(begin))
        if len(path) > end - begin:
            raise ValueError("there are %d bytes for the search path %r" % (end - begin, path))
        # Linkers let a string begin in the middle of another that ends like it.
        shared = [name for name in self._names() if begin < name <= end]
        if shared:
            raise ValueError("the name %r is the end of the search path" % self._string(shared[0]))
        start = self._sections[self._strings]["offset"] + begin
        self.data[start:start + end - begin] = path.encode().ljust(end - begin, b"\0")

    def _read_sections(self):
        table, = struct.unpack_from("<Q", self.data, 40)
        size, count = struct.unpack_from("<HH", self.data, 58)
        keys = ("name", "type", "flags", "address", "offset", "size", "link", "info", "align", "entry")
        return [dict(zip(keys, struct.unpack_from("<IIQQQQIIQQ", self.data, table + i * size)))
                for i in range(count)]

    def _section(self, kind):
        return next((s for s in self._sections if s["type"] == kind), None)

    def _read_dynamic(self):
        section = self._section(_SHT_DYNAMIC)
        if section is None:
            raise ValueError("it is not linked dynamically")
        entries = struct.iter_unpack(
            "<qQ", self.data[section["offset"]:section["offset"] + section["size"]])
        return [(tag, value) for tag, value in entries if tag != _DT_NULL]

    def _string(self, offset):
        start = self._sections[self._strings]["offset"] + offset
        return self.data[start:self.data.index(b"\0", start)].decode()

    def _names(self):
        """Offsets of every string that something refers to."""
        found = [value for tag, value in self._dynamic if tag in (_DT_NEEDED, _DT_SONAME)]
        symbols = self._section(_SHT_DYNSYM)
        if symbols:
            found += [struct.unpack_from("<I", self.data, symbols["offset"] + i)[0]
                      for i in range(0, symbols["size"], 24)]
        return found + self._version_names()

    def _version_names(self):
        found = []
        for kind, auxiliary, file_at, name_at, size in ((_SHT_VERNEED, 8, 4, 8, 16),
                                                        (_SHT_VERDEF, 12, None, 0, 8)):
            section = self._section(kind)
            at = section["offset"] if section else 0
            for _ in range(section["info"] if section else 0):
                count, = struct.unpack_from("<H", self.data, at + (2 if file_at else 6))
                if file_at:
                    found.append(struct.unpack_from("<I", self.data, at + file_at)[0])
                entry = at + struct.unpack_from("<I", self.data, at + auxiliary)[0]
                for _ in range(count):
                    found.append(struct.unpack_from("<I", self.data, entry + name_at)[0])
                    entry += struct.unpack_from("<I", self.data, entry + size - 4)[0]
                at += struct.unpack_from("<I", self.data, at + (12 if file_at else 16))[0]
        return found
