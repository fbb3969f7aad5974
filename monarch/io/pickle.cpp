#include "monarch/io/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <unordered_map>

#include "monarch/base/error.h"
#include "monarch/io/byte_reader.h"
#include "monarch/io/pickle_globals.h"
#include "monarch/io/pickle_opcodes.h"
#include "monarch/io/text.h"

namespace monarch::io {
namespace {

// A checkpoint of 100,000 tensors has a pickle of about 15 MB. The limits bound the memory that a
// hostile one can claim: a value of a hundred bytes for each of its own.
constexpr std::size_t kMaxPickleBytes = 32'000'000;
constexpr std::size_t kMaxValues = 4'000'000;

}  // namespace

class PickleMachine {
 public:
  PickleMachine(Pickle& pickle, std::span<const std::byte> bytes, std::string where,
                PickleContent content)
      : pickle_(pickle), reader_(bytes, std::move(where)), content_(content) {
    MONARCH_CHECK_CODE(bytes.size() <= kMaxPickleBytes, kCorrupt, "[monarch_io] ", reader_.where(),
                       " is a pickle of ", byte_string(bytes.size()), "; at most ",
                       byte_string(kMaxPickleBytes), " are read");
  }

  PickleValue* run() {
    while (true) {
      const auto opcode = reader_.number<PickleOpcode>();
      if (opcode == PickleOpcode::kStop) break;
      step(opcode);
    }
    PickleValue* root = pop();
    if (!stack_.empty() || !marks_.empty()) damaged("values are left over at its end");
    return root;
  }

 private:
  using Op = PickleOpcode;
  using Kind = PickleKind;
  using Items = std::vector<PickleValue*>;

  [[noreturn]] void damaged(std::string_view why) const {
    fail(ErrorCode::kCorrupt, "[monarch_io] ", reader_.where(), ": damaged pickle at byte ",
         reader_.position(), ": ", why);
  }

  void step(Op opcode) {
    switch (opcode) {
      case Op::kProto: check_protocol(reader_.number<std::uint8_t>()); return;
      case Op::kFrame: reader_.number<std::uint64_t>(); return;
      case Op::kMark: marks_.push_back(stack_.size()); return;
      case Op::kPop: pop(); return;

      case Op::kNone: push(Kind::kNone); return;
      case Op::kNewTrue: push(Kind::kBool).integer = 1; return;
      case Op::kNewFalse: push(Kind::kBool).integer = 0; return;
      case Op::kBinInt: push_int(reader_.number<std::int32_t>()); return;
      case Op::kBinInt1: push_int(reader_.number<std::uint8_t>()); return;
      case Op::kBinInt2: push_int(reader_.number<std::uint16_t>()); return;
      case Op::kLong1: push_int(read_long(reader_.number<std::uint8_t>())); return;
      case Op::kBinFloat: push(Kind::kFloat).real = read_big_endian_double(); return;

      case Op::kShortBinUnicode: push_string(reader_.number<std::uint8_t>()); return;
      case Op::kBinUnicode: push_string(reader_.number<std::uint32_t>()); return;
      case Op::kBinUnicode8: push_string(reader_.number<std::uint64_t>()); return;
      case Op::kShortBinBytes: push_bytes(reader_.number<std::uint8_t>()); return;
      case Op::kBinBytes: push_bytes(reader_.number<std::uint32_t>()); return;
      case Op::kBinBytes8: push_bytes(reader_.number<std::uint64_t>()); return;

      case Op::kEmptyTuple: push(Kind::kTuple); return;
      case Op::kTuple1: push_tuple(1); return;
      case Op::kTuple2: push_tuple(2); return;
      case Op::kTuple3: push_tuple(3); return;
      case Op::kTuple: push_items(Kind::kTuple); return;
      case Op::kEmptyList: push(Kind::kList); return;
      case Op::kList: push_items(Kind::kList); return;
      case Op::kAppend: extend(Kind::kList, {pop()}); return;
      case Op::kAppends: {
        Items items = pop_to_mark();
        extend(Kind::kList, std::move(items));
        return;
      }
      case Op::kEmptySet: push(Kind::kSet); return;
      case Op::kFrozenSet: push_items(Kind::kSet); return;
      case Op::kAddItems: {
        Items items = pop_to_mark();
        extend(Kind::kSet, std::move(items));
        return;
      }
      case Op::kEmptyDict: push(Kind::kDict); return;
      case Op::kDict:
        push_items(Kind::kDict);
        check_pairs(stack_.back()->items);
        return;
      case Op::kSetItem: {
        PickleValue* value = pop();
        PickleValue* key = pop();
        extend(Kind::kDict, {key, value});
        return;
      }
      case Op::kSetItems: {
        Items items = pop_to_mark();
        check_pairs(items);
        extend(Kind::kDict, std::move(items));
        return;
      }

      case Op::kBinGet: get(reader_.number<std::uint8_t>()); return;
      case Op::kLongBinGet: get(reader_.number<std::uint32_t>()); return;
      case Op::kBinPut: memo_[reader_.number<std::uint8_t>()] = top(); return;
      case Op::kLongBinPut: memo_[reader_.number<std::uint32_t>()] = top(); return;
      case Op::kMemoize: {
        PickleValue* value = top();
        memo_[static_cast<std::uint32_t>(memo_.size())] = value;
        return;
      }

      case Op::kGlobal: {
        const std::string module(reader_.line());
        push_global(module + "." + std::string(reader_.line()));
        return;
      }
      case Op::kStackGlobal: {
        const PickleValue* name = pop(Kind::kString);
        const PickleValue* module = pop(Kind::kString);
        push_global(module->text + "." + name->text);
        return;
      }
      case Op::kReduce:
      case Op::kNewObj: {
        const PickleValue* arguments = pop(Kind::kTuple);
        const PickleValue* callee = pop(Kind::kGlobal);
        call(*find_pickle_global(callee->text, content_), arguments->items);
        return;
      }
      case Op::kBuild: {
        if (content_ == PickleContent::kDistributedMetadata) return build_object();
        // An OrderedDict with attributes: state_dict() has _metadata, which nothing here needs.
        pop(Kind::kDict);
        if (top()->kind != Kind::kDict) refuse("the attributes of an object");
        return;
      }
      case Op::kBinPersId: push_storage(*pop(Kind::kTuple)); return;
      case Op::kStop: return;
    }
    std::array<char, 8> code{};
    std::snprintf(code.data(), code.size(), "0x%02x", static_cast<unsigned>(opcode));
    const std::string_view name = pickle_opcode_name(opcode);
    if (name.empty()) damaged(str_cat("no instruction has the code ", code.data()));
    refuse(str_cat("the pickle instruction ", name));
  }

  [[noreturn]] void refuse(const std::string& what) const {
    fail(ErrorCode::kUnsupported, "[monarch_io] ", reader_.where(), " refuses ", what,
         ": a checkpoint may hold tensors, dictionaries, lists, sets, numbers and strings only");
  }

  void check_protocol(unsigned protocol) const {
    if (protocol < 2 || protocol > 5) {
      fail(ErrorCode::kUnsupported, "[monarch_io] ", reader_.where(), ": pickle protocol ",
           protocol, " is not read; 2 to 5 are");
    }
  }

  // --- stack
  // ---------------------------------------------------------------------------------------

  PickleValue& push(Kind kind) {
    MONARCH_CHECK_CODE(pickle_.values_.size() < kMaxValues, kCorrupt, "[monarch_io] ",
                       reader_.where(), ": the pickle makes more than ", kMaxValues, " values");
    PickleValue& value = pickle_.values_.emplace_back();
    value.kind = kind;
    push(&value);
    return value;
  }

  void push(PickleValue* value) { stack_.push_back(value); }

  PickleValue* top() {
    if (stack_.size() <= floor()) damaged("a value is missing on its stack");
    return stack_.back();
  }

  PickleValue* pop() {
    PickleValue* value = top();
    stack_.pop_back();
    return value;
  }

  PickleValue* pop(Kind kind) {
    PickleValue* value = pop();
    if (value->kind != kind) damaged("an instruction finds a value of the wrong type");
    return value;
  }

  // Instructions cannot reach below the last mark.
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  Items pop_to_mark() {
    if (marks_.empty()) damaged("a mark is missing on its stack");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    marks_.pop_back();
    Items items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    return items;
  }

  // --- values
  // --------------------------------------------------------------------------------------

  void push_int(std::int64_t value) { push(Kind::kInt).integer = value; }

  std::int64_t read_long(unsigned count) {
    const auto bytes = reader_.take(count);
    if (count > 8) {
      fail(ErrorCode::kUnsupported, "[monarch_io] ", reader_.where(), " holds a number of ", count,
           " bytes; integers of 64 bits are read");
    }
    std::uint64_t value = 0;
    for (unsigned i = 0; i < count; ++i) value |= std::to_integer<std::uint64_t>(bytes[i]) << 8 * i;
    if (count > 0 && count < 8 && (value >> (8 * count - 1)) != 0) value |= ~0ULL << 8 * count;
    return static_cast<std::int64_t>(value);
  }

  double read_big_endian_double() {
    std::uint64_t bits = 0;
    for (const std::byte byte : reader_.take(8)) bits = bits << 8 | std::to_integer<unsigned>(byte);
    return std::bit_cast<double>(bits);
  }

  void push_string(std::uint64_t count) {
    const std::string_view text = reader_.text(count);
    if (!is_valid_utf8(text)) damaged("a string is not valid UTF-8");
    push(Kind::kString).text = text;
  }

  void push_bytes(std::uint64_t count) {
    const std::string_view text = reader_.text(count);
    push(Kind::kBytes).text = text;
  }

  void push_tuple(std::size_t count) {
    Items items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    push(Kind::kTuple).items = std::move(items);
  }

  void push_items(Kind kind) {
    Items items = pop_to_mark();
    push(kind).items = std::move(items);
  }

  void check_pairs(const Items& items) const {
    if (items.size() % 2 != 0) damaged("a dictionary has a key without value");
  }

  void extend(Kind kind, Items items) {
    PickleValue* value = top();
    if (value->kind != kind) damaged("an instruction finds a value of the wrong type");
    value->items.insert(value->items.end(), items.begin(), items.end());
  }

  void get(std::uint32_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) damaged("it refers to a value that was never stored");
    push(found->second);
  }

  // --- globals
  // -------------------------------------------------------------------------------------

  void push_global(const std::string& name) {
    if (find_pickle_global(name, content_) == nullptr) {
      const std::string shown = quote(name);
      refuse(shown.substr(1, shown.size() - 2));
    }
    push(Kind::kGlobal).text = name;
  }

  void call(const PickleGlobal& global, const Items& arguments) {
    switch (global.call) {
      case PickleCall::kNothing: refuse(str_cat("a call of ", global.name));
      case PickleCall::kDict: call_dict(arguments); return;
      case PickleCall::kSet: copy_sequence(Kind::kSet, arguments); return;
      case PickleCall::kSize: copy_sequence(Kind::kTuple, arguments); return;
      case PickleCall::kParameter:
        if (arguments.empty() || arguments[0]->kind != Kind::kTensor) {
          damaged("a parameter without tensor");
        }
        push(arguments[0]);
        return;
      case PickleCall::kTensor: call_tensor(arguments); return;
      case PickleCall::kObject: push(Kind::kObject); return;
      case PickleCall::kIgnored: push(Kind::kNone); return;
    }
  }

  // Attributes come as a dictionary; a class that packs its state otherwise has none.
  void build_object() {
    const PickleValue* state = pop();
    if (state->kind == Kind::kDict) {
      count_copied(state->items.size());
      extend(Kind::kObject, state->items);
    } else if (top()->kind != Kind::kObject) {
      damaged("attributes of something that is no object");
    }
  }

  void copy_sequence(Kind kind, const Items& arguments) {
    const bool sequence = arguments.size() == 1 &&
                          (arguments[0]->kind == Kind::kTuple || arguments[0]->kind == Kind::kList);
    if (!sequence && !arguments.empty()) damaged("a set or size is not made from a sequence");
    Items items = sequence ? arguments[0]->items : Items{};
    count_copied(items.size());
    push(kind).items = std::move(items);
  }

  void call_dict(const Items& arguments) {
    Items items;
    if (!arguments.empty()) {
      // OrderedDict([[key, value], ...]), as protocol 0 and old Pythons wrote it.
      for (const PickleValue* pair : arguments[0]->items) {
        if (pair->items.size() != 2) damaged("an OrderedDict is not made from pairs");
        items.insert(items.end(), pair->items.begin(), pair->items.end());
      }
      count_copied(items.size());
    }
    push(Kind::kDict).items = std::move(items);
  }

  // Copying a long list again and again through the memo would grow memory without bound.
  void count_copied(std::size_t count) {
    copied_ += count;
    MONARCH_CHECK_CODE(copied_ <= kMaxValues, kCorrupt, "[monarch_io] ", reader_.where(),
                       ": the pickle copies more than ", kMaxValues, " values");
  }

  // (storage, storage_offset, size, stride, requires_grad, backward_hooks[, metadata])
  void call_tensor(const Items& arguments) {
    const auto numbers = [](const PickleValue* value) {
      return value->kind == Kind::kTuple &&
             std::ranges::all_of(value->items,
                                 [](const PickleValue* item) { return item->kind == Kind::kInt; });
    };
    if (arguments.size() < 4 || arguments[0]->kind != Kind::kStorage ||
        arguments[1]->kind != Kind::kInt || !numbers(arguments[2]) || !numbers(arguments[3]) ||
        arguments[2]->items.size() != arguments[3]->items.size()) {
      damaged("a tensor's storage, offset, size and strides do not fit together");
    }
    Items items(arguments.begin(), arguments.begin() + 4);
    push(Kind::kTensor).items = std::move(items);
  }

  // ("storage", type, key, location, number of elements)
  void push_storage(const PickleValue& id) {
    const Items& items = id.items;
    if (items.size() != 5 || items[0]->kind != Kind::kString || items[0]->text != "storage" ||
        items[1]->kind != Kind::kGlobal || items[2]->kind != Kind::kString ||
        items[4]->kind != Kind::kInt || items[4]->integer < 0) {
      damaged("a persistent id does not describe a storage");
    }
    const PickleGlobal* type = find_pickle_global(items[1]->text, content_);
    if (!type->dtype) refuse(str_cat("a storage of type ", type->name));
    PickleValue& storage = push(Kind::kStorage);
    storage.dtype = *type->dtype;
    storage.text = items[2]->text;
    storage.integer = items[4]->integer;
  }

  Pickle& pickle_;
  ByteReader reader_;
  PickleContent content_;
  Items stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, PickleValue*> memo_;
  std::size_t copied_ = 0;
};

Pickle::Pickle(std::span<const std::byte> bytes, std::string where, PickleContent content) {
  root_ = PickleMachine(*this, bytes, std::move(where), content).run();
}

}  // namespace monarch::io
