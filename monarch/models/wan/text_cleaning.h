// How prompts are cleaned before they are split into tokens (the text encoder was trained on text
// cleaned like this).
#pragma once

#include <string>
#include <string_view>

namespace monarch::models {

// Mode "whitespace": repair_text, HTML references read twice, surrounding white space removed, and
// each run of Unicode white space replaced by one space. Any bytes are accepted; ill-formed UTF-8
// becomes U+FFFD.
std::string clean_text(std::string_view utf8);

}  // namespace monarch::models
