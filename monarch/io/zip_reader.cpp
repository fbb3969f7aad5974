#include "monarch/io/zip_reader.h"

#include <zlib.h>

#include <algorithm>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/io/byte_reader.h"
#include "monarch/io/text.h"
#include "monarch/io/zip_format.h"

namespace monarch::io {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::uint64_t kInflateFree = 64'000'000;
constexpr std::uint64_t kInflateFactor = 16;

struct Directory {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t num_entries = 0;
  std::uint64_t end = 0;  // where the records after the directory begin
};

// One entry of the directory, with its 64-bit values.
struct Listed {
  ZipEntry entry;
  std::uint16_t flags = 0;
  std::uint64_t stored_size = 0;
  std::uint64_t header_offset = 0;
};

std::size_t find_end(Bytes bytes, const std::string& where) {
  // The comment, at most 64 KiB, must reach exactly to the end: this finds the one true record.
  constexpr std::size_t kMostComment = 0xFFFF;
  for (std::size_t comment = 0; comment <= kMostComment; ++comment) {
    if (bytes.size() < zip::kEndBytes + comment) break;
    const std::size_t at = bytes.size() - zip::kEndBytes - comment;
    ByteReader reader(bytes.subspan(at), where);
    if (reader.number<std::uint32_t>() != zip::kEnd) continue;
    reader.seek(zip::kEndBytes - 2);
    if (reader.number<std::uint16_t>() == comment) return at;
  }
  fail(ErrorCode::kCorrupt, "[monarch_io] ", where,
       ": the directory at the end of the zip file is missing; the file is truncated");
}

Directory find_directory(Bytes bytes, const std::string& where) {
  Directory directory;
  const std::size_t end = find_end(bytes, where);
  ByteReader reader(bytes, where);
  reader.seek(end + 4);
  const auto disk = reader.number<std::uint16_t>();
  const auto first_disk = reader.number<std::uint16_t>();
  reader.number<std::uint16_t>();
  directory.num_entries = reader.number<std::uint16_t>();
  directory.bytes = reader.number<std::uint32_t>();
  directory.offset = reader.number<std::uint32_t>();
  directory.end = end;
  const bool may_be_64 = disk == zip::kIn64Short || directory.num_entries == zip::kIn64Short ||
                         directory.bytes == zip::kIn64 || directory.offset == zip::kIn64;
  MONARCH_CHECK_CODE(may_be_64 || (disk == 0 && first_disk == 0), kUnsupported, "[monarch_io] ",
                     where, " is one part of a zip file in several parts");
  if (may_be_64 && end >= zip::kEnd64LocatorBytes) {
    reader.seek(end - zip::kEnd64LocatorBytes);
    if (reader.number<std::uint32_t>() == zip::kEnd64Locator) {
      reader.number<std::uint32_t>();
      const auto end64 = reader.number<std::uint64_t>();
      reader.seek(end64);
      MONARCH_CHECK_CODE(reader.number<std::uint32_t>() == zip::kEnd64, kCorrupt, "[monarch_io] ",
                         where, ": the zip64 record is not where it should be");
      reader.seek(end64 + 32);
      directory.num_entries = reader.number<std::uint64_t>();
      directory.bytes = reader.number<std::uint64_t>();
      directory.offset = reader.number<std::uint64_t>();
      directory.end = end64;
    }
  }
  MONARCH_CHECK_CODE(
      directory.offset <= directory.end && directory.bytes <= directory.end - directory.offset,
      kCorrupt, "[monarch_io] ", where, ": the zip directory leaves the file");
  MONARCH_CHECK_CODE(directory.num_entries <= directory.bytes / zip::kDirectoryEntryBytes, kCorrupt,
                     "[monarch_io] ", where, ": the zip directory claims ", directory.num_entries,
                     " entries in ", directory.bytes, " bytes");
  return directory;
}

// Replaces fields that are all ones by the values of the zip64 extra field, in the order of the
// format.
void read_extra(ByteReader extra, Listed& listed) {
  const bool large_size = listed.entry.size == zip::kIn64;
  const bool large_stored = listed.stored_size == zip::kIn64;
  const bool large_offset = listed.header_offset == zip::kIn64;
  if (!large_size && !large_stored && !large_offset) return;
  while (extra.remaining() >= 4) {
    const auto id = extra.number<std::uint16_t>();
    const auto length = extra.number<std::uint16_t>();
    ByteReader field(extra.take(length), extra.where());
    if (id != zip::kExtra64) continue;
    if (large_size) listed.entry.size = field.number<std::uint64_t>();
    if (large_stored) listed.stored_size = field.number<std::uint64_t>();
    if (large_offset) listed.header_offset = field.number<std::uint64_t>();
    return;
  }
}

Listed read_listed(ByteReader& reader) {
  MONARCH_CHECK_CODE(reader.number<std::uint32_t>() == zip::kDirectoryEntry, kCorrupt,
                     "[monarch_io] ", reader.where(), ": the zip directory is damaged");
  Listed listed;
  reader.number<std::uint32_t>();  // versions
  listed.flags = reader.number<std::uint16_t>();
  const auto method = reader.number<std::uint16_t>();
  reader.number<std::uint32_t>();  // time and date
  listed.entry.crc = reader.number<std::uint32_t>();
  listed.stored_size = reader.number<std::uint32_t>();
  listed.entry.size = reader.number<std::uint32_t>();
  const auto name_bytes = reader.number<std::uint16_t>();
  const auto extra_bytes = reader.number<std::uint16_t>();
  const auto comment_bytes = reader.number<std::uint16_t>();
  reader.take(8);  // disk, attributes
  listed.header_offset = reader.number<std::uint32_t>();
  listed.entry.name = reader.text(name_bytes);
  read_extra(ByteReader(reader.take(extra_bytes), reader.where()), listed);
  reader.take(comment_bytes);

  const std::string place = reader.where() + ": entry " + quote(listed.entry.name);
  MONARCH_CHECK_CODE((listed.flags & zip::kFlagEncrypted) == 0, kUnsupported, "[monarch_io] ",
                     place, " is encrypted");
  MONARCH_CHECK_CODE(method == zip::kStored || method == zip::kDeflated, kUnsupported,
                     "[monarch_io] ", place, " uses compression method ", method,
                     "; stored and deflated entries are read");
  listed.entry.deflated = method == zip::kDeflated;
  MONARCH_CHECK_CODE(listed.entry.deflated || listed.stored_size == listed.entry.size, kCorrupt,
                     "[monarch_io] ", place, " is stored, but has two sizes, ", listed.stored_size,
                     " and ", listed.entry.size);
  return listed;
}

// Checks the local header against the directory and finds the data. Returns the end of the data.
std::uint64_t locate(Bytes bytes, Listed& listed, const std::string& where) {
  const std::string place = where + ": entry " + quote(listed.entry.name);
  ByteReader reader(bytes, place);
  reader.seek(listed.header_offset);
  MONARCH_CHECK_CODE(reader.number<std::uint32_t>() == zip::kLocalHeader, kCorrupt, "[monarch_io] ",
                     place, " has no header where the directory says");
  reader.number<std::uint16_t>();
  const auto flags = reader.number<std::uint16_t>();
  const auto method = reader.number<std::uint16_t>();
  reader.number<std::uint32_t>();
  const auto crc = reader.number<std::uint32_t>();
  Listed local;
  local.stored_size = reader.number<std::uint32_t>();
  local.entry.size = reader.number<std::uint32_t>();
  const auto name_bytes = reader.number<std::uint16_t>();
  const auto extra_bytes = reader.number<std::uint16_t>();
  const std::string_view name = reader.text(name_bytes);
  read_extra(ByteReader(reader.take(extra_bytes), place), local);
  // With a descriptor after the data the header may hold zeros instead.
  const bool later = (flags & zip::kFlagDescriptor) != 0;
  const auto agrees = [&](std::uint64_t here, std::uint64_t there) {
    return here == there || (later && here == 0);
  };
  MONARCH_CHECK_CODE(
      name == listed.entry.name && (method == zip::kDeflated) == listed.entry.deflated &&
          agrees(crc, listed.entry.crc) && agrees(local.stored_size, listed.stored_size) &&
          agrees(local.entry.size, listed.entry.size),
      kCorrupt, "[monarch_io] ", place, ": its header and the directory of the zip file disagree");
  listed.entry.bytes = reader.take(listed.stored_size);
  return reader.position();
}

}  // namespace

ZipReader::ZipReader(Bytes bytes, std::string where) : where_(std::move(where)) {
  const Directory directory = find_directory(bytes, where_);
  ByteReader reader(bytes.subspan(directory.offset, directory.bytes), where_);
  struct Extent {
    std::uint64_t begin, end;
    std::size_t index;
  };
  std::vector<Extent> extents;
  std::uint64_t inflated = 0;
  for (std::uint64_t i = 0; i < directory.num_entries; ++i) {
    Listed listed = read_listed(reader);
    MONARCH_CHECK_CODE(index_.emplace(listed.entry.name, entries_.size()).second, kCorrupt,
                       "[monarch_io] ", where_, ": entry ", quote(listed.entry.name),
                       " occurs twice in the zip directory");
    const std::uint64_t end = locate(bytes.first(directory.offset), listed, where_);
    extents.push_back({listed.header_offset, end, entries_.size()});
    if (listed.entry.deflated) {
      const std::uint64_t budget = kInflateFree + kInflateFactor * bytes.size();
      MONARCH_CHECK_CODE(listed.entry.size <= budget && inflated <= budget - listed.entry.size,
                         kCorrupt, "[monarch_io] ", where_, ": the compressed entries of these ",
                         byte_string(bytes.size()), " claim to inflate to more than ",
                         byte_string(budget), "; refused as a zip bomb");
      inflated += listed.entry.size;
    }
    entries_.push_back(std::move(listed.entry));
  }
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  for (std::size_t i = 1; i < extents.size(); ++i) {
    MONARCH_CHECK_CODE(extents[i].begin >= extents[i - 1].end, kCorrupt, "[monarch_io] ", where_,
                       ": entry ", quote(entries_[extents[i].index].name), " overlaps ",
                       quote(entries_[extents[i - 1].index].name));
  }
}

const ZipEntry* ZipReader::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

std::vector<std::byte> ZipReader::inflate(const ZipEntry& entry) const {
  const std::string place = where_ + ": entry " + quote(entry.name);
  std::vector<std::byte> out(entry.size);
  z_stream stream = {};
  // Negative window bits: raw deflate data, as zip has it.
  MONARCH_CHECK_CODE(inflateInit2(&stream, -MAX_WBITS) == Z_OK, kOutOfMemory, "[monarch_io] ",
                     place, ": not enough memory to inflate it");
  // zlib counts in 32 bits, so both sides go in pieces.
  constexpr std::size_t kPiece = std::size_t{1} << 30;
  std::byte extra{};  // room for one byte too many, to notice it
  std::size_t read = 0, written = 0;
  int status = Z_OK;
  while (status == Z_OK) {
    const std::size_t in = std::min(kPiece, entry.bytes.size() - read);
    const std::size_t room = std::min(kPiece, out.size() - written);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(entry.bytes.data() + read));
    stream.avail_in = static_cast<uInt>(in);
    stream.next_out = reinterpret_cast<Bytef*>(room > 0 ? out.data() + written : &extra);
    stream.avail_out = static_cast<uInt>(room > 0 ? room : 1);
    const uInt given = stream.avail_out;
    status = ::inflate(&stream, Z_NO_FLUSH);
    read += in - stream.avail_in;
    written += given - stream.avail_out;
    if (written > out.size()) break;
  }
  inflateEnd(&stream);
  MONARCH_CHECK_CODE(status == Z_STREAM_END && written == out.size(), kCorrupt, "[monarch_io] ",
                     place, " does not inflate to its ", entry.size, " bytes; it is damaged");
  MONARCH_CHECK_CODE(
      ::crc32_z(0, reinterpret_cast<const Bytef*>(out.data()), out.size()) == entry.crc, kCorrupt,
      "[monarch_io] ", place, " has a wrong checksum; it is damaged");
  return out;
}

void ZipReader::check_stored(const ZipEntry& entry) const {
  const auto* data = reinterpret_cast<const Bytef*>(entry.bytes.data());
  MONARCH_CHECK_CODE(::crc32_z(0, data, entry.bytes.size()) == entry.crc, kCorrupt, "[monarch_io] ",
                     where_, ": entry ", quote(entry.name), " has a wrong checksum; it is damaged");
}

}  // namespace monarch::io
