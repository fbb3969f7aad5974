// The files of a server's videos: a clip ID.mp4 and a record ID.json.
//
// Both get their names only when they are whole, the record last, so a killed server loses the
// video it was making and no other. The record of a video that waits promises no clip.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "monarch/serving/video_protocol.h"

namespace monarch::serving {

class VideoFolder {
 public:
  // Makes the folder if it is missing, and removes what killed servers left half written. Throws
  // kIo.
  explicit VideoFolder(std::filesystem::path folder);

  // The videos that are completed or wait, oldest first. What cannot be read is skipped with a
  // warning.
  std::vector<VideoRecord> load() const;
  void save(const VideoRecord& video) const;
  void remove(const std::string& id) const;  // clip and record
  std::filesystem::path clip_path(const std::string& id) const { return folder_ / (id + ".mp4"); }

 private:
  std::filesystem::path record_path(const std::string& id) const {
    return folder_ / (id + ".json");
  }
  void remove_leftovers() const;

  std::filesystem::path folder_;
};

}  // namespace monarch::serving
