#include "monarch/models/wan/text_cleaning.h"

#include <gtest/gtest.h>

#include "monarch/models/wan/html_entities.h"
#include "monarch/models/wan/text_repair.h"
#include "monarch/models/wan/utf8.h"

namespace monarch::models {
namespace {

struct Case {
  const char* text;
  const char* cleaned;
};

TEST(TextCleaning, CleansLikeTheOriginals) {
  const Case cases[] = {
      {"", ""},
      {" \t\r\n ", ""},
      {"  two  words ", "two words"},
      {"tabs\tand\nnew\r\nlines", "tabs and new lines"},
      {"no\u00a0break \u3000 thin\u2009space", "no break thin space"},
      {"salt &amp;amp;amp; pepper", "salt & pepper"},
      {"<b>tag</b> &amp;amp;amp;", "<b>tag</b> &amp;"},  // a '<' switches the first decoding off
      {"&lt;b&gt;", "<b>"},
      {"&notit; &unknown; & &", "\u00acit; &unknown; & &"},
      {"&copy 2024 &ampx", "\u00a9 2024 &x"},
      {"&NTILDE; &SZLIG;", "\u00d1 SS"},
      {"&#150;&#0;&#x110000;&#xD800;&#1;", "\u2013\ufffd\ufffd\ufffd"},
      {"&#99999999999999999999;", "\ufffd"},
      {"\u201ccurly\u201d \u2018it\u2019s\u2019", "\"curly\" 'it's'"},
      {"\ufb01ne o\ufb03ce \u01c6", "fine office d\u017e"},
      {"\uff26\uff35\uff2c\uff2c \uff76\uff9e", "FULL \u30ac"},
      {"cafe\u0301 \u212b", "caf\u00e9 \u00c5"},
      {"\x1b[31mred\x1b[0m bell\x07\x7f\ufeff", "red bell"},
      {"sch\u00c3\u00b6n", "sch\u00f6n"},
      {"doesn\u00e2\u20ac\u2122t", "doesn't"},
      {"\u00e2\u0153\u201d check", "\u2714 check"},
      {"caf\u00e9 \u00c5ngstr\u00f6m \u00bd \u20ac5",
       "caf\u00e9 \u00c5ngstr\u00f6m \u00bd \u20ac5"},
      {"NAÏVE SÃO É™", "NAÏVE SÃO É™"},
      {"cr\u00c3\u00a8me \u4e2d", "cr\u00e8me \u4e2d"},  // a part of a line
      {"\u00d0\u00b8\u00d0\u00b2 caf\u00e9", "\u0438\u0432 caf\u00e9"},
      {"stra\u00c3\u0178e", "stra\u00dfe"},
      {"\u0085next", "\u2026next"},
      {"\xff\xfe bad", "\ufffd\ufffd bad"},
  };
  for (const Case& c : cases) EXPECT_EQ(clean_text(c.text), c.cleaned) << c.text;
}

TEST(TextCleaning, IsStableAfterOnePass) {
  for (const char* text :
       {"a  b", "\u201cx\u201d", "&lt;p&gt; x", "\uff26\u3000x", "sch\u00c3\u00b6n"}) {
    const std::string once = clean_text(text);
    EXPECT_EQ(clean_text(once), once);
  }
}

TEST(Utf8, RoundTripsEveryCodePoint) {
  for (char32_t c = 1; c < 0x110000; c += 7) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const std::u32string text(3, c);
    ASSERT_EQ(decode_utf8(encode_utf8(text)), text) << static_cast<unsigned>(c);
  }
}

TEST(Utf8, ReplacesIllFormedSequences) {
  EXPECT_EQ(decode_utf8("a\xC0\x80"
                        "b"),
            U"a\ufffd\ufffdb");                                   // overlong
  EXPECT_EQ(decode_utf8("\xED\xA0\x80"), U"\ufffd\ufffd\ufffd");  // surrogate
  EXPECT_EQ(decode_utf8("\xE2\x82"), U"\ufffd");                  // cut off
  EXPECT_EQ(decode_utf8("\xF4\x90\x80\x80"), U"\ufffd\ufffd\ufffd\ufffd");
}

TEST(HtmlEntities, FindsTheFirstAndTheLastName) {
  EXPECT_EQ(html_entity("AElig", true), "\u00c6");
  EXPECT_EQ(html_entity("zwnj", true), "\u200c");
  EXPECT_FALSE(html_entity("zwnj", false).has_value());
  EXPECT_FALSE(html_entity("nothing", true).has_value());
}

}  // namespace
}  // namespace monarch::models
