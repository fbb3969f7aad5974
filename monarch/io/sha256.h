// SHA-256 (FIPS 180-4), to compare a download with the hash that its page shows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace monarch::io {

class Sha256 {
 public:
  void update(std::span<const std::byte> bytes);
  std::string hex();  // finishes; 64 digits

 private:
  void block(const std::byte* bytes);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> buffer_{};
  std::uint64_t length_ = 0;
};

std::string sha256(std::span<const std::byte> bytes);

}  // namespace monarch::io
