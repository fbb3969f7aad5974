#include "monarch/io/pickle.h"

#include <gtest/gtest.h>

#include "tests/io/files.h"

namespace monarch::io {
namespace {

using namespace std::string_literals;
using Kind = PickleKind;

Pickle parse(const std::string& body) { return {std::as_bytes(std::span(body)), "data.pkl"}; }

void expect_rejected(const std::string& body, ErrorCode code,
                     std::initializer_list<std::string_view> parts) {
  expect_error([&] { parse(body); }, code, parts);
}

TEST(Pickle, Numbers) {
  const auto integer = [](const std::string& body) { return parse(body).root().integer; };
  EXPECT_EQ(integer("\x80\2K\7."), 7);
  EXPECT_EQ(integer("\x80\2M\1\2."), 513);
  EXPECT_EQ(integer("\x80\2J\xff\xff\xff\xff."), -1);
  EXPECT_EQ(integer("\x80\2\x8a\0."s), 0);
  EXPECT_EQ(integer("\x80\2\x8a\1\xff."), -1);
  EXPECT_EQ(integer("\x80\2\x8a\2\xff\0."s), 255);
  EXPECT_EQ(integer("\x80\2\x8a\6\0\0\0\0\0\1."s), 1LL << 40);
  EXPECT_EQ(parse("\x80\2G\x3f\xf8\0\0\0\0\0\0."s).root().real, 1.5);
  expect_rejected("\x80\2\x8a\x09         .", ErrorCode::kUnsupported, {"a number of 9 bytes"});
}

TEST(Pickle, Containers) {
  // {'a': [1, (2, None)]}
  const Pickle pickle = parse(
      "\x80\2}X\1\0\0\0a](K\1K\2N\x86"
      "es."s);
  const PickleValue& root = pickle.root();
  ASSERT_EQ(root.kind, Kind::kDict);
  ASSERT_EQ(root.items.size(), 2U);
  EXPECT_EQ(root.items[0]->text, "a");
  const PickleValue& list = *root.items[1];
  ASSERT_EQ(list.kind, Kind::kList);
  ASSERT_EQ(list.items.size(), 2U);
  EXPECT_EQ(list.items[1]->kind, Kind::kTuple);
  EXPECT_EQ(list.items[1]->items[1]->kind, Kind::kNone);
}

TEST(Pickle, SurvivesCycles) {
  const Pickle pickle = parse("\x80\2]q\0h\0a."s);
  EXPECT_EQ(pickle.root().items[0], &pickle.root());
}

TEST(Pickle, RefusesCodeByName) {
  expect_rejected("\x80\2cposix\nsystem\nX\4\0\0\0true\x85R."s, ErrorCode::kUnsupported,
                  {"data.pkl refuses posix.system: a checkpoint may hold tensors"});
  expect_rejected("\x80\4\x8c\2os\x8c\6system\x93."s, ErrorCode::kUnsupported,
                  {"refuses os.system"});
  expect_rejected("\x80\2cbuiltins\neval\n."s, ErrorCode::kUnsupported, {"refuses builtins.eval"});
  expect_rejected("\x80\2ctorch._utils\n_rebuild_tensor\n."s, ErrorCode::kUnsupported,
                  {"refuses torch._utils._rebuild_tensor"});
  expect_rejected("\x80\2(iposix\nsystem\n."s, ErrorCode::kUnsupported,
                  {"refuses the pickle instruction INST"});
  expect_rejected("\x80\2(cos\nsystem\no."s, ErrorCode::kUnsupported, {"refuses os.system"});
  expect_rejected("\x80\2\x82\1."s, ErrorCode::kUnsupported, {"instruction EXT1"});
  expect_rejected("\x80\2ctorch\nFloatStorage\n)R."s, ErrorCode::kUnsupported,
                  {"refuses a call of torch.FloatStorage"});
  expect_rejected("\x80\2]}b."s, ErrorCode::kUnsupported, {"refuses the attributes of an object"});
  expect_rejected("\x80\2ca\x1b[2J\nb\n."s, ErrorCode::kUnsupported, {R"(refuses a\x1b[2J.b)"});
}

TEST(Pickle, RejectsDamage) {
  expect_rejected("", ErrorCode::kCorrupt, {"ends in the middle"});
  expect_rejected("\x80\2K\1", ErrorCode::kCorrupt, {"ends in the middle"});
  expect_rejected("\x80\2.", ErrorCode::kCorrupt, {"a value is missing"});
  expect_rejected("\x80\2NN.", ErrorCode::kCorrupt, {"left over"});
  expect_rejected("\x80\2(N.", ErrorCode::kCorrupt, {"left over"});
  expect_rejected("\x80\2t.", ErrorCode::kCorrupt, {"a mark is missing"});
  expect_rejected("\x80\2N(\x85.", ErrorCode::kCorrupt, {"a value is missing"});
  expect_rejected("\x80\2}(Nu.", ErrorCode::kCorrupt, {"key without value"});
  expect_rejected("\x80\2NNa.", ErrorCode::kCorrupt, {"wrong type"});
  expect_rejected("\x80\2h\1.", ErrorCode::kCorrupt, {"never stored"});
  expect_rejected("\x80\2\xfe.", ErrorCode::kCorrupt, {"no instruction has the code 0xfe"});
  expect_rejected("\x80\1N.", ErrorCode::kUnsupported, {"protocol 1"});
  expect_rejected("\x80\2X\xff\xff\xff\xff.", ErrorCode::kCorrupt, {"ends in the middle"});
  expect_rejected("\x80\2X\1\0\0\0\xff."s, ErrorCode::kCorrupt, {"not valid UTF-8"});
  expect_rejected("\x80\2cabc", ErrorCode::kCorrupt, {"in the middle of a line"});
  expect_rejected("\x80\2)Q.", ErrorCode::kCorrupt, {"does not describe a storage"});
  expect_rejected("\x80\2ctorch._utils\n_rebuild_tensor_v2\n)R."s, ErrorCode::kCorrupt,
                  {"do not fit together"});
  expect_rejected("\x80\2ctorch._utils\n_rebuild_parameter\n)R."s, ErrorCode::kCorrupt,
                  {"a parameter without tensor"});
  expect_rejected("\x80\2ccollections\nOrderedDict\n](Kaa\x85R."s, ErrorCode::kCorrupt, {"byte"});
}

TEST(Pickle, BoundsMemory) {
  expect_rejected("\x80\2" + std::string(4000001, ']') + ".", ErrorCode::kCorrupt,
                  {"more than 4000000 values"});
  // A list of 65536 values copied into sets again and again.
  std::string body = "\x80\2](" + std::string(65536, 'N') + "eq\1";
  for (int i = 0; i < 100; ++i) body += "cbuiltins\nset\nh\1\x85R0";
  expect_rejected(body + ".", ErrorCode::kCorrupt, {"copies more than 4000000 values"});
}

}  // namespace
}  // namespace monarch::io
