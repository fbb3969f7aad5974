#include "monarch/models/wan/weights.h"

#include <gtest/gtest.h>

#include "monarch/base/error.h"

namespace monarch::models {
namespace {

TEST(WeightReader, SharesMemory) {
  const TensorMap weights = {{"a", at::ones({2, 3})}};
  WeightReader reader(weights, "test module");
  EXPECT_EQ(reader.take("a", {2, 3}).data_ptr(), weights.at("a").data_ptr());
  EXPECT_NO_THROW(reader.finish());
}

TEST(WeightReader, ReportsEverythingAtOnce) {
  const TensorMap weights = {
      {"a", at::ones({2, 3})}, {"extra", at::ones({1})}, {"skip.x", at::ones({1})}};
  WeightReader reader(weights, "test module");
  reader.ignore_prefix("skip.");
  EXPECT_EQ(reader.take("a", {3, 2}).sizes(), at::IntArrayRef({3, 2}));
  reader.take("b", {1});
  try {
    reader.finish();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[monarch_models] the weights do not fit the test module:\n  1 missing: b\n"
                 "  1 misshapen: a is [2, 3], needs [3, 2]\n  1 unused: extra\n"
                 "  check that the configuration belongs to this checkpoint");
  }
}

}  // namespace
}  // namespace monarch::models
