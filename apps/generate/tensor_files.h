// Tensors in small files: latents, text embeddings.
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

}  // namespace monarch::apps
