# monarch_room(NAME SOURCES ... [LINKS rooms...] [TORCH])
#   A library monarch_NAME out of this folder; LINKS names rooms of lower floors.
# monarch_test(NAME SOURCES ... [LINKS rooms...] [TORCH])
#   A GoogleTest program test_NAME, its cases registered with CTest.
# TORCH: uses LibTorch, and its precompiled header.

add_library(monarch_options INTERFACE)
target_include_directories(monarch_options INTERFACE "${PROJECT_SOURCE_DIR}")
# -fPIC everywhere, programs too: one precompiled header then fits all.
target_compile_options(monarch_options INTERFACE -fPIC -Wall -Wextra $<$<CXX_COMPILER_ID:GNU>:-Wno-psabi>)
if(MONARCH_WERROR)
  target_compile_options(monarch_options INTERFACE -Werror)
endif()
if(MONARCH_FUZZ)
  # libFuzzer steers by the branches that an input takes, in the libraries too.
  target_compile_options(monarch_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(MONARCH_SANITIZE)
  target_compile_options(monarch_options INTERFACE -fsanitize=${MONARCH_SANITIZE} -fno-omit-frame-pointer -g1
                         -fno-sanitize-recover=all)
  target_compile_definitions(monarch_options INTERFACE _GLIBCXX_ASSERTIONS)  # operator[] checks its index
  target_link_options(monarch_options INTERFACE -fsanitize=${MONARCH_SANITIZE})
endif()

# One precompiled header serves every Torch target: 20 s once instead of 7 s a file.
function(monarch_use_torch target)
  target_link_libraries(${target} PUBLIC monarch::torch)
  if(NOT TARGET monarch_torch_pch)
    file(WRITE "${CMAKE_BINARY_DIR}/torch_pch.cpp" "// carries the precompiled header\n")
    add_library(monarch_torch_pch OBJECT "${CMAKE_BINARY_DIR}/torch_pch.cpp")
    target_link_libraries(monarch_torch_pch PRIVATE monarch_options monarch::torch)
    target_precompile_headers(monarch_torch_pch PRIVATE "${PROJECT_SOURCE_DIR}/cmake/torch_pch.h")
  endif()
  target_precompile_headers(${target} REUSE_FROM monarch_torch_pch)
endfunction()

function(monarch_room name)
  cmake_parse_arguments(ROOM "TORCH" "" "SOURCES;LINKS" ${ARGN})
  add_library(monarch_${name} ${ROOM_SOURCES})
  add_library(monarch::${name} ALIAS monarch_${name})
  target_compile_features(monarch_${name} PUBLIC cxx_std_20)
  target_link_libraries(monarch_${name} PRIVATE $<BUILD_INTERFACE:monarch_options> PUBLIC Threads::Threads)
  target_include_directories(monarch_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
  foreach(room ${ROOM_LINKS})
    target_link_libraries(monarch_${name} PUBLIC monarch_${room})
  endforeach()
  if(ROOM_TORCH)
    monarch_use_torch(monarch_${name})
  endif()
endfunction()

function(monarch_test name)
  cmake_parse_arguments(TEST "TORCH" "" "SOURCES;LINKS" ${ARGN})
  add_executable(test_${name} ${TEST_SOURCES})
  target_link_libraries(test_${name} PRIVATE monarch_options GTest::gtest GTest::gtest_main)
  foreach(room ${TEST_LINKS})
    target_link_libraries(test_${name} PRIVATE monarch_${room})
  endforeach()
  if(TEST_TORCH)
    monarch_use_torch(test_${name})
  endif()
  target_compile_definitions(test_${name} PRIVATE MONARCH_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  include(GoogleTest)
  # CTest runs programs side by side: one OpenMP thread each, or they wait for each other.
  gtest_discover_tests(test_${name} TEST_PREFIX "${name}." DISCOVERY_MODE PRE_TEST
                       DISCOVERY_TIMEOUT 120 PROPERTIES TIMEOUT 900 ENVIRONMENT OMP_NUM_THREADS=1)
endfunction()
