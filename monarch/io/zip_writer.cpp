#include "monarch/io/zip_writer.h"

#include <zlib.h>

#include <algorithm>

#include "monarch/base/error.h"
#include "monarch/io/text.h"
#include "monarch/io/zip_format.h"

namespace monarch::io {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kCrcOffset = 14;       // in the local header
constexpr std::uint16_t kVersion = 45;       // the first with zip64
constexpr std::uint32_t kDate = 0x00210000;  // 1980-01-01: the same content gives the same bytes

class Record {
 public:
  template <typename T>
  Record& number(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  Record& text(std::string_view value) {
    text_ += value;
    return *this;
  }
  const std::string& str() const { return text_; }

 private:
  std::string text_;
};

std::uint32_t narrow(std::uint64_t value) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(value, zip::kIn64));
}

// The zip64 extra field with those of the values that do not fit into 32 bits.
std::string extra64(std::initializer_list<std::uint64_t> values) {
  Record fields;
  for (const std::uint64_t value : values) {
    if (value >= zip::kIn64) fields.number(value);
  }
  if (fields.str().empty()) return "";
  return Record()
      .number(zip::kExtra64)
      .number(static_cast<std::uint16_t>(fields.str().size()))
      .text(fields.str())
      .str();
}

}  // namespace

void ZipWriter::begin_entry(std::string_view name, std::uint64_t size) {
  const std::uint64_t offset = file_.position();
  std::string extra = extra64({size, size});
  // Padding in an extra field moves the data to the next multiple of 64.
  const std::uint64_t unpadded = offset + zip::kLocalHeaderBytes + name.size() + extra.size() + 4;
  const auto padding =
      static_cast<std::uint16_t>((kAlignment - unpadded % kAlignment) % kAlignment);
  extra +=
      Record().number(zip::kExtraPadding).number(padding).text(std::string(padding, '\0')).str();
  Record header;
  header.number(zip::kLocalHeader).number(kVersion).number(zip::kFlagUtf8).number(zip::kStored);
  header.number(kDate).number(std::uint32_t{0}).number(narrow(size)).number(narrow(size));
  header.number(static_cast<std::uint16_t>(name.size()));
  header.number(static_cast<std::uint16_t>(extra.size())).text(name).text(extra);
  file_.write(header.str());
  entries_.push_back({std::string(name), size, offset, 0});
  appended_ = 0;
}

void ZipWriter::append(std::span<const std::byte> bytes) {
  file_.write(bytes);
  appended_ += bytes.size();
  Written& entry = entries_.back();
  entry.crc = static_cast<std::uint32_t>(
      ::crc32_z(entry.crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

void ZipWriter::end_entry() {
  const Written& entry = entries_.back();
  MONARCH_CHECK(appended_ == entry.size, "[monarch_io] record ", quote(entry.name), " needs ",
                entry.size, " bytes, but ", appended_, " were given");
  file_.overwrite(entry.header_offset + kCrcOffset, std::as_bytes(std::span(&entry.crc, 1)));
}

void ZipWriter::add(std::string_view name, std::string_view content) {
  begin_entry(name, content.size());
  append(std::as_bytes(std::span(content)));
  end_entry();
}

void ZipWriter::finish() {
  const std::uint64_t begin = file_.position();
  for (const Written& entry : entries_) {
    const std::string extra = extra64({entry.size, entry.size, entry.header_offset});
    Record record;
    record.number(zip::kDirectoryEntry).number(kVersion).number(kVersion);
    record.number(zip::kFlagUtf8).number(zip::kStored).number(kDate).number(entry.crc);
    record.number(narrow(entry.size)).number(narrow(entry.size));
    record.number(static_cast<std::uint16_t>(entry.name.size()));
    record.number(static_cast<std::uint16_t>(extra.size())).number(std::uint16_t{0});
    record.number(std::uint64_t{0});  // disk, attributes
    record.number(narrow(entry.header_offset)).text(entry.name).text(extra);
    file_.write(record.str());
  }
  const std::uint64_t end = file_.position();
  const auto count = static_cast<std::uint64_t>(entries_.size());
  Record record;
  record.number(zip::kEnd64).number(std::uint64_t{zip::kEnd64Bytes - 12});
  record.number(kVersion).number(kVersion).number(std::uint64_t{0});
  record.number(count).number(count).number(end - begin).number(begin);
  record.number(zip::kEnd64Locator).number(std::uint32_t{0}).number(end).number(std::uint32_t{1});
  const auto short_count =
      static_cast<std::uint16_t>(std::min<std::uint64_t>(count, zip::kIn64Short));
  record.number(zip::kEnd).number(std::uint32_t{0}).number(short_count).number(short_count);
  record.number(narrow(end - begin)).number(narrow(begin)).number(std::uint16_t{0});
  file_.write(record.str());
}

}  // namespace monarch::io
