// Attention maps to look at.
#pragma once

#include <string>

#include "monarch/evaluation/attention_map.h"

namespace monarch::evaluation {

// Paints a square of a head's map around the diagonal: the tokens of the middle frame, at most 256
// of them. Queries go downwards, keys to the right. Brightness grows with the square root of the
// weight, on one scale for all pictures of the head.
class MapPainter {
 public:
  explicit MapPainter(AttentionHead head);

  // Bytes of a PNG.
  std::string dense() const;
  std::string paint(const AttentionMethod& method) const;

 private:
  at::Tensor crop(const MapApproximation& approximation) const;

  AttentionHead head_;
  std::int64_t begin_, side_;
  at::Tensor dense_;  // [side, side]
  double peak_;       // weights above are brightest; few of the dense map are
};

}  // namespace monarch::evaluation
