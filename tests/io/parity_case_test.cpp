#include "monarch/io/parity_case.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "monarch/io/safetensors.h"
#include "tests/io/files.h"

namespace monarch::io {
namespace {

OwnedTensor<float> floats(std::vector<float> values) {
  const auto size = static_cast<std::int64_t>(values.size());
  return {"x", DType::kF32, {size}, std::move(values)};
}

Comparison compare_values(std::vector<float> got, std::vector<float> want, double tolerance,
                          double rms_floor = 0) {
  return compare(floats(std::move(got)).entry, floats(std::move(want)).entry, tolerance, rms_floor);
}

TEST(ParityCase, Reads) {
  const TemporaryFolder folder;
  const auto path = folder / "case.safetensors";
  const OwnedTensor<float> input("input.q", DType::kF32, {2}, {1, 2});
  const OwnedTensor<float> out("expect.out", DType::kF32, {2}, {3, 4});
  const std::vector<TensorEntry> entries = {input.entry, out.entry};
  write_safetensors(
      path, entries,
      {{"case",
        R"({"op":"dense","config":{"heads":2},"rel_l2_tolerance":1e-5,"rms_floor":0.001})"}});
  const ParityCase parity = read_parity_case(path);
  EXPECT_EQ(parity.op, "dense");
  EXPECT_EQ(parity.config["heads"], 2);
  EXPECT_EQ(parity.rel_l2_tolerance, 1e-5);
  EXPECT_EQ(parity.rms_floor, 0.001);
  EXPECT_EQ(parity.names("expect."), std::vector<std::string>{"expect.out"});
  EXPECT_EQ(parity.tensor("input.q").shape, std::vector<std::int64_t>{2});
  expect_error([&] { parity.tensor("input.k"); }, ErrorCode::kNotFound,
               {"the dense case has no tensor 'input.k'"});
}

TEST(ParityCase, RejectsIncompleteDescriptions) {
  const TemporaryFolder folder;
  const auto path = folder / "case.safetensors";
  const auto expect_text = [&](const Metadata& metadata, std::string_view text) {
    write_safetensors(path, {}, metadata);
    expect_error([&] { read_parity_case(path); }, ErrorCode::kCorrupt, {"case.safetensors", text});
  };
  expect_text({}, "no entry 'case'");
  expect_text({{"case", "{"}}, "not a JSON object");
  expect_text({{"case", R"({"config":{}})"}}, "case.op is missing");
  expect_text({{"case", R"({"op":"x","config":[]})"}}, "case.config is not an object");
  expect_text({{"case", R"({"op":"x","config":{}})"}}, "case.rel_l2_tolerance is missing");
  expect_text({{"case", R"({"op":"x","rel_l2_tolerance":-1})"}}, "zero or more");
  expect_text({{"case", R"({"op":"x","rel_l2_tolerance":"1"})"}}, "is not a number");
}

TEST(Compare, RelativeL2) {
  EXPECT_NEAR(compare_values({3, 4.5}, {3, 4}, 0.2).error, 0.1, 1e-12);
  EXPECT_TRUE(compare_values({3, 4.5}, {3, 4}, 0.101).passed);
  EXPECT_FALSE(compare_values({3, 4.5}, {3, 4}, 0.099).passed);
  EXPECT_TRUE(compare_values({3, 4}, {3, 4}, 0).passed);
  EXPECT_FALSE(compare_values({3, std::nextafter(4.0F, 5.0F)}, {3, 4}, 0).passed);
  EXPECT_TRUE(compare_values({}, {}, 0).passed);
}

TEST(Compare, FloorAndTinyNorms) {
  // rms_floor sqrt(n) = 0.002 replaces the norm of zeros.
  EXPECT_NEAR(compare_values({1e-6F, 0, 0, 0}, {0, 0, 0, 0}, 1, 0.001).error, 5e-4, 1e-9);
  EXPECT_NEAR(compare_values({1e-6F, 0, 0, 0}, {0, 0, 0, 0}, 1e-5).error, 1e-6, 1e-12);
  EXPECT_TRUE(compare_values({1e-6F, 0, 0, 0}, {0, 0, 0, 0}, 1e-5).passed);
  EXPECT_FALSE(compare_values({1e-4F, 0, 0, 0}, {0, 0, 0, 0}, 1e-5).passed);
}

TEST(Compare, NonFiniteFails) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(compare_values({nan}, {1}, 1e9).passed);
  EXPECT_FALSE(compare_values({infinity}, {infinity}, 1e9).passed);
  EXPECT_FALSE(compare_values({1}, {nan}, 1e9).passed);
  EXPECT_NE(compare_values({1, nan}, {1, 1}, 1).problem.find("element 1 is nan"),
            std::string::npos);
}

TEST(Compare, ShapesAndKindsMustAgree) {
  const OwnedTensor<float> a("a", DType::kF32, {2, 1}, {1, 2});
  const OwnedTensor<float> b("b", DType::kF32, {1, 2}, {1, 2});
  EXPECT_EQ(compare(a.entry, b.entry, 1).problem, "shape [2, 1], expected [1, 2]");
  const OwnedTensor<std::int32_t> i("i", DType::kI32, {2, 1}, {1, 2});
  EXPECT_EQ(compare(i.entry, a.entry, 1).problem, "dtype I32, expected F32");
  const OwnedTensor<double> d("d", DType::kF64, {2, 1}, {1, 2});
  EXPECT_TRUE(compare(d.entry, a.entry, 0).passed);
}

TEST(Compare, IntegersAndBoolsAreExact) {
  const OwnedTensor<std::int64_t> want("w", DType::kI64, {3}, {1, 2, 1LL << 60});
  const OwnedTensor<std::int64_t> same("w", DType::kI64, {3}, {1, 2, 1LL << 60});
  const OwnedTensor<std::int64_t> other("w", DType::kI64, {3}, {1, 2, (1LL << 60) + 1});
  EXPECT_TRUE(compare(same.entry, want.entry, 0).passed);
  EXPECT_FALSE(compare(other.entry, want.entry, 1e9).passed);
  const OwnedTensor<std::uint8_t> mask("m", DType::kBool, {2}, {1, 0});
  const OwnedTensor<std::int64_t> numbers("m", DType::kI64, {2}, {1, 0});
  EXPECT_TRUE(compare(numbers.entry, mask.entry, 0).passed);
}

}  // namespace
}  // namespace monarch::io
