// Tensors in small files: latents, text embeddings, first frames.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace monarch::apps {

// A safetensors file of float32 tensors; undefined tensors are left out.
void save_tensors(const std::filesystem::path& path,
                  const std::map<std::string, at::Tensor>& tensors);

// The tensor of that name, float32; undefined if the file does not have it and `required` is false.
at::Tensor load_tensor(const std::filesystem::path& path, const std::string& name,
                       bool required = true);

// Frames of an image or video, scaled to the size: [1, 3, T, height, width] in [-1, 1], T at most
// max_frames.
at::Tensor read_frames(const std::filesystem::path& path, std::int64_t width, std::int64_t height,
                       std::int64_t max_frames);

}  // namespace monarch::apps
