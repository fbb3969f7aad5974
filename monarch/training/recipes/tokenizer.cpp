#include "monarch/training/recipes/tokenizer.h"

#include <sentencepiece_trainer.h>

#include <fstream>

#include "monarch/base/error.h"
#include "monarch/training/data/shapes_dataset.h"

namespace monarch::training {
namespace {

// Letters that captions of the shapes world may lack, but a prompt may have.
constexpr const char* kRequired =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'\"()-";

class CaptionIterator : public sentencepiece::SentenceIterator {
 public:
  explicit CaptionIterator(std::vector<std::string> captions) : captions_(std::move(captions)) {}
  bool done() const override { return next_ >= captions_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return captions_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> captions_;
  std::size_t next_ = 0;
};

}  // namespace

void train_tokenizer(const std::filesystem::path& path, const TokenizerOptions& options) {
  std::filesystem::create_directories(path.parent_path());
  const ShapesDataset data(ShapesOptions{}, mix_seed(options.seed, 11));
  std::vector<std::string> captions;
  for (int i = 0; i < options.captions; ++i) {
    captions.push_back(data.sample(static_cast<std::uint64_t>(i)).caption);
  }
  CaptionIterator iterator(std::move(captions));
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      {{"model_type", "unigram"},
       {"vocab_size", std::to_string(options.vocab_size)},
       {"hard_vocab_limit", "false"},
       {"pad_id", "0"},
       {"eos_id", "1"},
       {"unk_id", "2"},
       {"bos_id", "-1"},
       {"character_coverage", "1.0"},
       {"required_chars", kRequired},
       {"num_threads", "1"},  // more would make the result depend on timing
       {"minloglevel", "2"}},
      &iterator, &model);
  MONARCH_CHECK_CODE(
      status.ok(), kInternal,
      "[monarch_training] sentencepiece could not train a tokenizer: ", status.ToString());
  std::ofstream file(path, std::ios::binary);
  file.write(model.data(), static_cast<std::streamsize>(model.size()));
  file.flush();
  MONARCH_CHECK_CODE(file.good(), kIo, "[monarch_training] cannot write ", path.string());
}

}  // namespace monarch::training
