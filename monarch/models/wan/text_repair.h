// Repairs damaged text the way ftfy's fix_text does with its default options, which is how the text
// encoder's training prompts were cleaned: entities (unless the text holds a '<'), mojibake, C1
// control characters, Latin ligatures, full- and half-width forms, curly quotes, line breaks,
// terminal escapes, control characters, NFC; repeated until nothing changes.
//
// Not repaired: mojibake of other encodings than windows-1252 and Latin-1, mojibake that has lost
// bytes, and lone sequences that could be meant (an accented capital before a sign).
#pragma once

#include <string>
#include <string_view>

namespace monarch::models {

std::string repair_text(std::string_view utf8);

// UTF-8 that was read as windows-1252 or Latin-1, read rightly ("schÃ¶n" is "schön"), where it
// hardly occurs in undamaged text.
std::u32string repair_mojibake(std::u32string_view text);

// "ﬁ" and other Latin ligatures and digraphs as separate letters.
std::u32string split_ligatures(std::u32string_view text);

}  // namespace monarch::models
