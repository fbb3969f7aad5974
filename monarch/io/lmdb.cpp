#include "monarch/io/lmdb.h"

#include <cstring>

#include "monarch/base/error.h"
#include "monarch/io/lmdb_format.h"
#include "monarch/io/text.h"

namespace monarch::io {
namespace {

using namespace lmdb;

constexpr int kMaxDepth = 32;

std::filesystem::path data_file(const std::filesystem::path& path) {
  return std::filesystem::is_directory(path) ? path / "data.mdb" : path;
}

// A structure at an offset that was checked.
template <typename T>
T load(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

std::optional<Meta> read_meta(std::span<const std::byte> file, std::uint64_t offset) {
  if (file.size() < kPageHeader + sizeof(Meta) || offset > file.size() - kPageHeader - sizeof(Meta))
    return std::nullopt;
  const auto header = load<PageHeader>(file, offset);
  const auto meta = load<Meta>(file, offset + kPageHeader);
  if ((header.flags & kMeta) == 0 || meta.magic != kMagic) return std::nullopt;
  return meta;
}

}  // namespace

LmdbFile::LmdbFile(const std::filesystem::path& path) : file_(data_file(path)) {
  const auto bytes = file_.bytes();
  const std::optional<Meta> first = read_meta(bytes, 0);
  MONARCH_CHECK_CODE(first.has_value(), kCorrupt, "[monarch_io] ", where(),
                     " is not an LMDB file of a 64-bit little-endian machine, or its start is "
                     "damaged");
  MONARCH_CHECK_CODE((first->version & 0xffff) == kVersion, kUnsupported, "[monarch_io] ", where(),
                     " has LMDB data version ", first->version, "; only ", kVersion,
                     " is supported");
  page_size_ = first->free.pad;
  MONARCH_CHECK_CODE(
      page_size_ >= 256 && page_size_ <= 65536 && (page_size_ & (page_size_ - 1)) == 0, kCorrupt,
      "[monarch_io] ", where(), " claims pages of ", page_size_, " bytes; it is damaged");
  const std::optional<Meta> second = read_meta(bytes, page_size_);
  const Meta& meta = second && second->transaction > first->transaction ? *second : *first;
  root_ = meta.main.root;
  num_entries_ = meta.main.entries;
}

LmdbFile::Page LmdbFile::page(std::uint64_t number) const {
  const auto bytes = file_.bytes();
  MONARCH_CHECK_CODE(number < bytes.size() / page_size_, kCorrupt, "[monarch_io] ", where(),
                     " ends after ", bytes.size(), " bytes, before its page ", number,
                     "; it was copied in part, copy it again");
  Page page{.number = number,
            .bytes = bytes.subspan(number * page_size_, page_size_),
            .flags = 0,
            .num_nodes = 0};
  const auto header = load<PageHeader>(page.bytes, 0);
  page.flags = header.flags;
  MONARCH_CHECK_CODE(header.number == number && header.lower >= kPageHeader &&
                         header.lower <= header.upper && header.upper <= page_size_,
                     kCorrupt, "[monarch_io] ", where(), ": page ", number, " is damaged");
  page.num_nodes = (header.lower - kPageHeader) / 2;
  return page;
}

LmdbFile::Node LmdbFile::node(const Page& page, std::size_t index) const {
  const auto check = [&](bool good) {
    MONARCH_CHECK_CODE(good, kCorrupt, "[monarch_io] ", where(), ": page ", page.number,
                       " is damaged");
  };
  const auto offset = load<std::uint16_t>(page.bytes, kPageHeader + 2 * index);
  check(offset >= kPageHeader && offset + kNodeHeader <= page_size_);
  const auto header = load<NodeHeader>(page.bytes, offset);
  std::size_t at = offset + kNodeHeader;
  check(at + header.key_size <= page_size_);
  Node node;
  node.key = {reinterpret_cast<const char*>(page.bytes.data()) + at, header.key_size};
  at += header.key_size;
  const std::uint64_t low = header.low | (static_cast<std::uint64_t>(header.high) << 16);
  if ((page.flags & kBranch) != 0) {
    node.child = low | (static_cast<std::uint64_t>(header.flags) << 32);
  } else if ((header.flags & kBigData) != 0) {
    check(at + 8 <= page_size_);
    const auto first = load<std::uint64_t>(page.bytes, at);
    const auto bytes = file_.bytes();
    MONARCH_CHECK_CODE(
        first < bytes.size() / page_size_ && low <= bytes.size() - first * page_size_ - kPageHeader,
        kCorrupt, "[monarch_io] ", where(), " ends after ", bytes.size(),
        " bytes, before the end of ", quote(node.key), "; it was copied in part, copy it again");
    const auto overflow = load<PageHeader>(bytes, first * page_size_);
    check(overflow.number == first && (overflow.flags & kOverflow) != 0);
    node.value = bytes.subspan(first * page_size_ + kPageHeader, low);
  } else {
    check(header.flags == 0 && low <= page_size_ - at);
    node.value = page.bytes.subspan(at, low);
  }
  return node;
}

std::optional<std::span<const std::byte>> LmdbFile::find(std::string_view key) const {
  if (root_ == kNoPage) return std::nullopt;
  Page current = page(root_);
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    const bool branch = (current.flags & kBranch) != 0;
    MONARCH_CHECK_CODE((branch || (current.flags & kLeaf) != 0) && current.num_nodes > 0, kCorrupt,
                       "[monarch_io] ", where(), ": page ", current.number, " is damaged");
    // The last node whose key is not above `key`; a branch's first key is empty, below all.
    std::size_t low = branch ? 1 : 0, high = current.num_nodes;
    while (low < high) {
      const std::size_t middle = (low + high) / 2;
      if (node(current, middle).key <= key) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low == 0) return std::nullopt;
    const Node found = node(current, low - 1);
    if (!branch) return found.key == key ? std::optional(found.value) : std::nullopt;
    current = page(found.child);
  }
  fail(ErrorCode::kCorrupt, "[monarch_io] ", where(), " has a tree without an end; it is damaged");
}

std::span<const std::byte> LmdbFile::at(std::string_view key) const {
  const auto found = find(key);
  MONARCH_CHECK_CODE(found.has_value(), kNotFound, "[monarch_io] ", where(), " has no record ",
                     quote(key));
  return *found;
}

std::string_view LmdbFile::text(std::string_view key) const {
  const auto value = at(key);
  return {reinterpret_cast<const char*>(value.data()), value.size()};
}

}  // namespace monarch::io
