// What NVIDIA's driver says about itself, for the line that describes the machine.
#pragma once

#include <filesystem>
#include <string>

namespace monarch::apps {

struct GpuInfo {
  std::string model;   // of all cards that the driver shows, each name once; empty: it shows none
  std::string driver;  // version; empty: there is no driver
};

GpuInfo read_gpu_info(const std::filesystem::path& proc = "/proc/driver/nvidia");

}  // namespace monarch::apps
