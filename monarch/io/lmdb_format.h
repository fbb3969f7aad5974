// Inside of lmdb.h: the layout of pages.
#pragma once

#include <cstddef>
#include <cstdint>

namespace monarch::io::lmdb {

inline constexpr std::uint32_t kMagic = 0xBEEFC0DE;
inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::uint64_t kNoPage = ~0ULL;
inline constexpr std::size_t kPageHeader = 16;
inline constexpr std::size_t kNodeHeader = 8;

enum PageFlags : std::uint16_t { kBranch = 0x01, kLeaf = 0x02, kOverflow = 0x04, kMeta = 0x08 };
enum NodeFlags : std::uint16_t { kBigData = 0x01 };
inline constexpr std::uint16_t kIntegerKeys = 0x08;  // of the database of free pages

struct PageHeader {
  std::uint64_t number;
  std::uint16_t pad;
  std::uint16_t flags;
  std::uint16_t lower;  // end of the node offsets; with kOverflow lower and upper are one number,
  std::uint16_t upper;  // the count of pages
};

struct Database {
  std::uint32_t pad;  // of the first database: the page size
  std::uint16_t flags;
  std::uint16_t depth;
  std::uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct Meta {
  std::uint32_t magic, version;
  std::uint64_t address, map_size;
  Database free, main;
  std::uint64_t last_page, transaction;
};

struct NodeHeader {
  std::uint16_t low, high;  // leaf: size of the value; branch: low bits of the child's page
  std::uint16_t flags;      // branch: high bits of the child's page
  std::uint16_t key_size;
};

static_assert(sizeof(PageHeader) == kPageHeader && sizeof(NodeHeader) == kNodeHeader);
static_assert(sizeof(Database) == 48 && sizeof(Meta) == 136);

}  // namespace monarch::io::lmdb
