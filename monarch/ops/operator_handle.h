// Operators of this library called by name, through Torch's dispatcher.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace monarch::ops {

template <typename Signature>
c10::TypedOperatorHandle<Signature> operator_named(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace monarch::ops
