// Settings of Monarch attention as configurations write them: the other way of from_json.
#pragma once

#include <string>

#include "monarch/ops/monarch_options.h"

namespace monarch::ops {

Json as_json(const MonarchOptions& options);   // a value of `monarch_args`
Json as_json(const VMonarchOptions& options);  // of `vmonarch_args`

std::string split_name(attention::Split split);  // "f,hw": what attention::parse_split reads

}  // namespace monarch::ops
