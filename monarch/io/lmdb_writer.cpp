#include <algorithm>
#include <cstring>

#include "monarch/base/error.h"
#include "monarch/io/lmdb.h"
#include "monarch/io/lmdb_format.h"

namespace monarch::io {
namespace {

using namespace lmdb;

constexpr std::size_t kPage = 4096;
constexpr std::size_t kMaxKey = 511;
// A node above it would leave no room for a second one: its value gets pages of its own.
constexpr std::size_t kMaxNode = (((kPage - kPageHeader) / 2) & ~std::size_t{1}) - 2;

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

// A page of nodes, filled from both ends as LMDB does.
class NodePage {
 public:
  bool fits(std::size_t node_size) const { return lower_ + 2 + even(node_size) <= upper_; }
  void add(NodeHeader header, std::string_view key, std::string_view value) {
    header.key_size = static_cast<std::uint16_t>(key.size());
    upper_ -= even(kNodeHeader + key.size() + value.size());
    std::memcpy(&bytes_[upper_], &header, kNodeHeader);
    std::copy(key.begin(), key.end(), &bytes_[upper_ + kNodeHeader]);
    std::copy(value.begin(), value.end(), &bytes_[upper_ + kNodeHeader + key.size()]);
    const auto offset = static_cast<std::uint16_t>(upper_);
    std::memcpy(&bytes_[lower_], &offset, 2);
    lower_ += 2;
  }
  bool empty() const { return lower_ == kPageHeader; }
  std::string_view finish(std::uint64_t number, std::uint16_t flags) {
    const PageHeader header{number, 0, flags, static_cast<std::uint16_t>(lower_),
                            static_cast<std::uint16_t>(upper_)};
    std::memcpy(bytes_.data(), &header, kPageHeader);
    return bytes_;
  }

 private:
  static std::size_t even(std::size_t size) { return (size + 1) & ~std::size_t{1}; }

  std::string bytes_ = std::string(kPage, '\0');
  std::size_t lower_ = kPageHeader, upper_ = kPage;
};

struct Child {
  std::string first_key;
  std::uint64_t page = 0;
};

std::string meta_page(std::uint64_t number, const Database& main, std::uint64_t last_page) {
  std::string page(kPage, '\0');
  const PageHeader header{number, 0, kMeta, 0, 0};
  const Meta meta{.magic = kMagic,
                  .version = kVersion,
                  .address = 0,
                  .map_size = (last_page + 1) * kPage,
                  .free = {kPage, kIntegerKeys, 0, 0, 0, 0, 0, kNoPage},
                  .main = main,
                  .last_page = last_page,
                  .transaction = number};  // the second meta page is the newer one
  std::memcpy(page.data(), &header, kPageHeader);
  std::memcpy(&page[kPageHeader], &meta, sizeof(meta));
  return page;
}

}  // namespace

LmdbWriter::LmdbWriter(const std::filesystem::path& file) : file_(file) {
  file_.write(std::string(2 * kPage, '\0'));
}

void LmdbWriter::put(std::string_view key, std::string_view value) {
  put(key, std::as_bytes(std::span(value.data(), value.size())));
}

void LmdbWriter::put(std::string_view key, std::span<const std::byte> value) {
  MONARCH_CHECK(!key.empty() && key.size() <= kMaxKey, "[monarch_io] an LMDB key has 1 to ",
                kMaxKey, " bytes, not ", key.size());
  MONARCH_CHECK(value.size() <= 0xffffffffU, "[monarch_io] an LMDB value of ", value.size(),
                " bytes is too large");
  Entry entry{.key = std::string(key), .size = value.size(), .page = 0, .value = {}};
  if (kNodeHeader + key.size() + value.size() <= kMaxNode) {
    entry.value.assign(reinterpret_cast<const char*>(value.data()), value.size());
  } else {
    const std::size_t pages = (kPageHeader + value.size() + kPage - 1) / kPage;
    const PageHeader header{next_page_, 0, kOverflow, static_cast<std::uint16_t>(pages & 0xffff),
                            static_cast<std::uint16_t>(pages >> 16)};
    file_.write(bytes_of(header));
    file_.write(value);
    file_.write(std::string(pages * kPage - kPageHeader - value.size(), '\0'));
    entry.page = next_page_;
    next_page_ += pages;
  }
  entries_.push_back(std::move(entry));
}

void LmdbWriter::finish() {
  std::ranges::sort(entries_, {}, &Entry::key);
  for (std::size_t i = 1; i < entries_.size(); ++i) {
    MONARCH_CHECK(entries_[i - 1].key != entries_[i].key, "[monarch_io] the LMDB key '",
                  entries_[i].key, "' was written twice");
  }
  Database main{0, 0, 0, 0, 0, next_page_ - 2, entries_.size(), kNoPage};
  std::vector<Child> level;
  NodePage page;
  const auto close = [&](std::uint16_t flags, std::uint64_t& count) {
    file_.write(page.finish(next_page_++, flags));
    page = {};
    ++count;
  };
  for (const Entry& entry : entries_) {
    const std::string_view value =
        entry.page == 0 ? std::string_view(entry.value)
                        : std::string_view(reinterpret_cast<const char*>(&entry.page), 8);
    if (!page.fits(kNodeHeader + entry.key.size() + value.size())) close(kLeaf, main.leaf_pages);
    if (page.empty()) level.push_back({entry.key, next_page_});
    page.add({.low = static_cast<std::uint16_t>(entry.size & 0xffff),
              .high = static_cast<std::uint16_t>(entry.size >> 16),
              .flags = static_cast<std::uint16_t>(entry.page == 0 ? 0 : kBigData),
              .key_size = 0},
             entry.key, value);
  }
  if (!page.empty()) close(kLeaf, main.leaf_pages);
  main.depth = level.empty() ? 0 : 1;
  // Levels of branches; children are divided evenly, as a branch needs two at least.
  while (level.size() > 1) {
    const std::size_t most = (kPage - kPageHeader) / (kNodeHeader + kMaxKey + 1 + 2);
    const std::size_t pages = (level.size() + most - 1) / most;
    std::vector<Child> above;
    for (std::size_t i = 0; i < pages; ++i) {
      const std::size_t begin = level.size() * i / pages, end = level.size() * (i + 1) / pages;
      above.push_back({level[begin].first_key, next_page_});
      for (std::size_t j = begin; j < end; ++j) {
        const std::uint64_t child = level[j].page;
        page.add({.low = static_cast<std::uint16_t>(child & 0xffff),
                  .high = static_cast<std::uint16_t>((child >> 16) & 0xffff),
                  .flags = static_cast<std::uint16_t>(child >> 32),
                  .key_size = 0},
                 j == begin ? std::string_view() : std::string_view(level[j].first_key), {});
      }
      close(kBranch, main.branch_pages);
    }
    level = std::move(above);
    ++main.depth;
  }
  if (!level.empty()) main.root = level.front().page;
  const Database none{0, 0, 0, 0, 0, 0, 0, kNoPage};
  const std::string metas = meta_page(0, none, 1) + meta_page(1, main, next_page_ - 1);
  file_.overwrite(0, std::as_bytes(std::span(metas.data(), metas.size())));
  file_.commit();
}

}  // namespace monarch::io
