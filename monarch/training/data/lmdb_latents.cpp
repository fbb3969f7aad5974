#include "monarch/training/data/lmdb_latents.h"

#include <charconv>
#include <cstring>

#include "monarch/base/error.h"
#include "monarch/io/text.h"

namespace monarch::training {
namespace {

namespace fs = std::filesystem;

// "5 5 4 4 6"
std::vector<int64_t> parse_shape(std::string_view text, const std::string& where) {
  std::vector<int64_t> shape;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    MONARCH_CHECK_CODE(error == std::errc() && value >= 0, kCorrupt, "[monarch_training] ", where,
                       ": latents_shape is ", io::quote(text),
                       "; numbers separated by blanks were expected");
    shape.push_back(value);
    at = next;
    while (at != end && *at == ' ') ++at;
  }
  MONARCH_CHECK_CODE(shape.size() == 5 || shape.size() == 6, kCorrupt, "[monarch_training] ", where,
                     ": latents_shape is ", io::quote(text),
                     "; the number of rows and then [F, C, H, W] or [steps, F, C, H, W] were "
                     "expected");
  return shape;
}

std::string row_key(const char* what, int64_t row) { return str_cat(what, '_', row, "_data"); }

size_t row_bytes(const std::vector<int64_t>& shape) {
  size_t bytes = 2;
  for (size_t i = 1; i < shape.size(); ++i) bytes *= static_cast<size_t>(shape[i]);
  return bytes;
}

std::vector<fs::path> shard_paths(const fs::path& path) {
  MONARCH_CHECK_CODE(fs::exists(path), kNotFound, "[monarch_training] there is no ", path.string(),
                     "; data_path names an LMDB file (.mdb), a folder of LMDB shards, or a text "
                     "file of prompts");
  if (path.extension() == ".mdb") return {path};
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.is_directory()) found.push_back(entry.path());
  }
  std::ranges::sort(found);
  MONARCH_CHECK_CODE(!found.empty(), kNotFound, "[monarch_training] ", path.string(),
                     " has no sub-folders with LMDB shards");
  return found;
}

}  // namespace

bool is_lmdb(const fs::path& path) {
  if (path.extension() == ".mdb") return true;
  return fs::is_directory(path) &&
         std::any_of(fs::directory_iterator(path), fs::directory_iterator(),
                     [](const auto& entry) { return fs::exists(entry.path() / "data.mdb"); });
}

LmdbLatents::LmdbLatents(const fs::path& path) {
  for (const fs::path& shard_path : shard_paths(path)) {
    Shard shard{.file = std::make_unique<io::LmdbFile>(shard_path), .shape = {}};
    const std::string where = shard.file->where();
    shard.shape = parse_shape(shard.file->text("latents_shape"), where);
    const auto number = static_cast<int64_t>(shards_.size());
    for (int64_t row = 0; row < shard.shape.front(); ++row) {
      const size_t bytes = shard.file->at(row_key("latents", row)).size();
      MONARCH_CHECK_CODE(bytes == row_bytes(shard.shape), kCorrupt, "[monarch_training] ", where,
                         ": ", row_key("latents", row), " has ", bytes, " bytes, not the ",
                         row_bytes(shard.shape), " of latents_shape ", shape_string(shard.shape));
      MONARCH_CHECK_CODE(io::is_valid_utf8(shard.file->text(row_key("prompts", row))), kCorrupt,
                         "[monarch_training] ", where, ": ", row_key("prompts", row),
                         " is not UTF-8");
      rows_.emplace_back(number, row);
    }
    shards_.push_back(std::move(shard));
  }
  MONARCH_CHECK_CODE(!rows_.empty(), kCorrupt, "[monarch_training] ", path.string(),
                     " has no rows");
}

at::Tensor LmdbLatents::trajectory(int64_t index) const {
  const auto [shard, row] = place(index);
  const std::vector<int64_t>& stored = shard_shape(shard);
  std::vector<int64_t> shape(stored.begin() + 1, stored.end());
  if (shape.size() == 4) shape.insert(shape.begin(), 1);
  const auto bytes = this->shard(shard).at(row_key("latents", row));
  const at::Tensor half = at::empty(shape, at::kHalf);
  std::memcpy(half.data_ptr(), bytes.data(), bytes.size());
  return half.to(at::kFloat);
}

at::Tensor LmdbLatents::latents(int64_t index) const {
  return trajectory(index).select(0, -1).transpose(0, 1).contiguous();
}

std::string LmdbLatents::prompt(int64_t index) const {
  const auto [shard, row] = place(index);
  return std::string(this->shard(shard).text(row_key("prompts", row)));
}

struct LmdbLatentsWriter::Shard {
  explicit Shard(const fs::path& file) : writer(file) {}
  io::LmdbWriter writer;
  int64_t rows = 0;
};

LmdbLatentsWriter::LmdbLatentsWriter(const fs::path& path, int64_t num_shards) {
  MONARCH_CHECK(num_shards >= 1, "[monarch_training] the number of shards is ", num_shards,
                "; it must be at least 1");
  const bool file = path.extension() == ".mdb";
  MONARCH_CHECK(!file || num_shards == 1, "[monarch_training] ", path.string(),
                " is one file; for ", num_shards, " shards name a folder");
  for (int64_t k = 0; k < num_shards; ++k) {
    const fs::path folder = file ? path.parent_path() : path / str_cat("shard_", k);
    if (!folder.empty()) fs::create_directories(folder);
    shards_.push_back(std::make_unique<Shard>(file ? path : folder / "data.mdb"));
  }
}

LmdbLatentsWriter::~LmdbLatentsWriter() = default;

bool LmdbLatentsWriter::add(const std::string& prompt, const at::Tensor& latents) {
  const auto place = std::ranges::lower_bound(prompts_, prompt);
  if (place != prompts_.end() && *place == prompt) return false;
  const std::vector<int64_t> shape = latents.sizes().vec();
  if (size_ == 0) shape_ = shape;
  MONARCH_CHECK(shape.size() == 4 && shape == shape_, "[monarch_training] latents of ",
                io::quote(prompt), " have shape ", shape_string(shape), ", those before ",
                shape_string(shape_), "; all rows of a data set have one shape [F, C, H, W]");
  prompts_.insert(place, prompt);
  Shard& shard = *shards_[static_cast<size_t>(size_) % shards_.size()];
  const at::Tensor half = latents.detach().to(at::kCPU, at::kHalf).contiguous();
  shard.writer.put(row_key("latents", shard.rows),
                   {static_cast<const std::byte*>(half.const_data_ptr()), half.nbytes()});
  shard.writer.put(row_key("prompts", shard.rows), prompt);
  ++shard.rows;
  ++size_;
  return true;
}

void LmdbLatentsWriter::finish() {
  for (const auto& shard : shards_) {
    std::string shape = std::to_string(shard->rows);
    for (const int64_t size : shape_) shape += " " + std::to_string(size);
    shard->writer.put("latents_shape", shape);
    shard->writer.put("prompts_shape", std::to_string(shard->rows));
    shard->writer.finish();
  }
}

}  // namespace monarch::training
