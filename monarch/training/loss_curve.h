// A picture of a loss curve.
#pragma once

#include <filesystem>

namespace monarch::training {

// Reads the lines that train() wrote ({"step": .., "loss": ..}) and draws them as SVG, the loss on
// a logarithmic axis. Writes nothing if there are fewer than two points. Throws kNotFound if there
// is no such file.
void draw_loss_curve(const std::filesystem::path& jsonl, const std::filesystem::path& svg);

}  // namespace monarch::training
