// Helpers of the io tests: a folder that disappears, raw files, and the text of errors.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "monarch/base/error.h"
#include "monarch/io/checkpoint.h"

namespace monarch::io {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    static std::atomic<int> counter = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("monarch_io_" + std::to_string(::getpid()) + "_" + std::to_string(counter++));
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  // Names in the folder, hidden ones too.
  std::size_t num_files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::filesystem::path path_;
};

inline void write_raw(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string read_raw(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A safetensors file out of a header text and data bytes.
inline std::string safetensors_file(std::string_view header, std::string_view data) {
  const std::uint64_t length = header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out.append(header).append(data);
}

// Owns the bytes of an entry made from numbers.
template <typename T>
struct OwnedTensor {
  std::vector<T> values;
  TensorEntry entry;
  OwnedTensor(std::string name, DType dtype, std::vector<std::int64_t> shape, std::vector<T> data)
      : values(std::move(data)) {
    entry = {std::move(name), dtype, std::move(shape), std::as_bytes(std::span(values))};
  }
};

// Runs `call`, which must throw monarch::Error of this code with all of `parts` in its text.
template <typename Call>
void expect_error(Call call, ErrorCode code, std::initializer_list<std::string_view> parts) {
  try {
    call();
    ADD_FAILURE() << "no error was thrown; expected one with: " << *parts.begin();
  } catch (const Error& error) {
    const std::string_view text = error.what();
    EXPECT_EQ(error_code_name(error.code()), error_code_name(code)) << text;
    for (const std::string_view part : parts) {
      EXPECT_NE(text.find(part), std::string_view::npos) << "'" << part << "' is not in: " << text;
    }
    EXPECT_EQ(text.find('\n'), std::string_view::npos) << "more than one line: " << text;
  }
}

}  // namespace monarch::io
