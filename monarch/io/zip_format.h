// Numbers of the zip format shared by reader and writer (PKWARE APPNOTE 6.3, section 4.3).
#pragma once

#include <cstddef>
#include <cstdint>

namespace monarch::io::zip {

inline constexpr std::uint32_t kLocalHeader = 0x04034b50;
inline constexpr std::uint32_t kDirectoryEntry = 0x02014b50;
inline constexpr std::uint32_t kEnd = 0x06054b50;
inline constexpr std::uint32_t kEnd64 = 0x06064b50;
inline constexpr std::uint32_t kEnd64Locator = 0x07064b50;

inline constexpr std::size_t kLocalHeaderBytes = 30;
inline constexpr std::size_t kDirectoryEntryBytes = 46;
inline constexpr std::size_t kEndBytes = 22;
inline constexpr std::size_t kEnd64Bytes = 56;
inline constexpr std::size_t kEnd64LocatorBytes = 20;

// A 32-bit (16-bit) field with this value stands in the zip64 extra field instead.
inline constexpr std::uint32_t kIn64 = 0xFFFFFFFF;
inline constexpr std::uint16_t kIn64Short = 0xFFFF;

inline constexpr std::uint16_t kExtra64 = 1;
inline constexpr std::uint16_t kExtraPadding = 0x4246;  // "FB", torch's own for alignment

inline constexpr std::uint16_t kStored = 0;
inline constexpr std::uint16_t kDeflated = 8;

inline constexpr std::uint16_t kFlagEncrypted = 1;
inline constexpr std::uint16_t kFlagDescriptor = 8;  // sizes and checksum follow the data
inline constexpr std::uint16_t kFlagUtf8 = 0x800;

}  // namespace monarch::io::zip
