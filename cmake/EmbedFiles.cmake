# cmake -D FOLDER=web -D FILES=a.html,b.js -D OUTPUT=static_files.cpp -P EmbedFiles.cmake
# Writes the files as C++ arrays behind find_static_file() (monarch/serving/static_files.h).
set(_types_html "text/html; charset=utf-8")
set(_types_css "text/css; charset=utf-8")
set(_types_js "text/javascript; charset=utf-8")
set(_types_svg "image/svg+xml")
set(_arrays "")
set(_table "")
string(REPLACE "," ";" FILES "${FILES}")
set(_index 0)
foreach(_file ${FILES})
  file(READ "${FOLDER}/${_file}" _hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," _bytes "${_hex}")
  string(REGEX REPLACE "^.*\\." "" _extension "${_file}")
  string(APPEND _arrays "constexpr char kFile${_index}[] = {${_bytes}'\\0'};\n")
  string(APPEND _table "    {\"/${_file}\", \"${_types_${_extension}}\", {kFile${_index}, sizeof(kFile${_index}) - 1}},\n")
  math(EXPR _index "${_index} + 1")
endforeach()
file(WRITE "${OUTPUT}" "// Made by cmake/EmbedFiles.cmake.
#include \"monarch/serving/static_files.h\"

namespace monarch::serving {
namespace {
${_arrays}
constexpr StaticFile kFiles[] = {
${_table}};
}  // namespace

const StaticFile* find_static_file(std::string_view path) {
  for (const StaticFile& file : kFiles)
    if (file.path == path) return &file;
  return nullptr;
}

}  // namespace monarch::serving
")
