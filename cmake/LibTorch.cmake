# Finds LibTorch inside a torch Python package and defines monarch::torch.
#
# Order: MONARCH_TORCH_DIR, the environment ./quickstart makes (.deps/venv), python3 on PATH. The Python package is for
# the torch that will load it, so for it the interpreter that installs it is asked instead. Torch's own CMake package is
# not used because it insists on a CUDA toolkit; linking c10 and torch_cpu directly does not.

set(_torch_found "")
set(_torch_candidates "${MONARCH_TORCH_DIR}")
set(_torch_private "")
if(NOT MONARCH_PYTHON_PACKAGE)
  file(GLOB _torch_private "${PROJECT_SOURCE_DIR}/.deps/venv/lib/python3*/site-packages/torch")
endif()
list(APPEND _torch_candidates ${_torch_private})
if(NOT MONARCH_TORCH_DIR AND NOT _torch_private)
  set(_torch_interpreter "${Python_EXECUTABLE}")
  if(NOT _torch_interpreter)
    find_program(MONARCH_INTERPRETER python3)
    set(_torch_interpreter "${MONARCH_INTERPRETER}")
  endif()
  if(_torch_interpreter)
    set(_torch_flags "")
    if(MONARCH_PYTHON_PACKAGE)
      set(_torch_flags -E)  # pip builds in an environment that hides the installed packages; this looks past it
    endif()
    execute_process(
      COMMAND "${_torch_interpreter}" ${_torch_flags} -c
              "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
      OUTPUT_VARIABLE _torch_python OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    list(APPEND _torch_candidates "${_torch_python}")
  endif()
endif()
foreach(_dir ${_torch_candidates})
  if(NOT _torch_found AND EXISTS "${_dir}/lib/libtorch_cpu.so")
    set(_torch_found "${_dir}")
  endif()
endforeach()
if(NOT _torch_found AND MONARCH_PYTHON_PACKAGE)
  message(FATAL_ERROR "${_torch_interpreter} has no torch, which the operators are built against: pip install torch, then "
                      "install this package again (with --no-build-isolation where pip is not the installer).")
endif()
if(NOT _torch_found)
  message(FATAL_ERROR "LibTorch was not found (looked in: ${_torch_candidates}). Run ./quickstart, which installs it into "
                      ".deps/, or pass -DMONARCH_TORCH_DIR=<folder of the torch Python package>.")
endif()

file(STRINGS "${_torch_found}/version.py" _torch_version_line REGEX "^__version__")
string(REGEX MATCH "[0-9]+\\.[0-9]+(\\.[0-9]+)?" MONARCH_TORCH_VERSION "${_torch_version_line}")
if(MONARCH_TORCH_VERSION VERSION_LESS 2.6)
  message(FATAL_ERROR "torch ${MONARCH_TORCH_VERSION} in ${_torch_found} is too old: 2.6 or later is needed.")
endif()

# libtorch_cpu of a CUDA build needs libcudart and libcupti, which PyPI ships beside torch.
get_filename_component(_torch_site "${_torch_found}" DIRECTORY)
file(GLOB _torch_nvidia LIST_DIRECTORIES true "${_torch_site}/nvidia/*/lib")

add_library(monarch_torch INTERFACE)
add_library(monarch::torch ALIAS monarch_torch)
target_include_directories(monarch_torch SYSTEM INTERFACE "${_torch_found}/include"
                           "${_torch_found}/include/torch/csrc/api/include")
target_link_directories(monarch_torch INTERFACE "${_torch_found}/lib")
if(NOT MONARCH_PYTHON_PACKAGE)  # import torch has loaded its libraries before
  target_link_options(monarch_torch INTERFACE "-Wl,-rpath,${_torch_found}/lib")
  foreach(_dir ${_torch_nvidia})
    target_link_options(monarch_torch INTERFACE "-Wl,-rpath,${_dir}" "-Wl,-rpath-link,${_dir}")
  endforeach()
endif()
target_link_libraries(monarch_torch INTERFACE -Wl,--no-as-needed torch_cpu c10 -Wl,--as-needed)

# The OpenMP runtime that libtorch_cpu runs on: sources compiled with -fopenmp must share it, not bring a second one.
add_library(monarch_torch_openmp INTERFACE)
add_library(monarch::torch_openmp ALIAS monarch_torch_openmp)
file(GLOB _torch_gomp "${_torch_found}/lib/libgomp*.so*")
if(_torch_gomp)
  list(GET _torch_gomp 0 _torch_gomp)
  target_link_libraries(monarch_torch_openmp INTERFACE "${_torch_gomp}")
else()
  target_link_libraries(monarch_torch_openmp INTERFACE gomp)
endif()

option(MONARCH_TORCH_CUDA "Link LibTorch's CUDA library, so that --device cuda works" OFF)
if(MONARCH_TORCH_CUDA)
  target_link_libraries(monarch_torch INTERFACE -Wl,--no-as-needed torch_cuda c10_cuda -Wl,--as-needed)
  # LibTorch's headers include those of the runtime and call it; when the program runs, it is the one that LibTorch loads.
  find_package(CUDAToolkit 12.8 REQUIRED)
  target_link_libraries(monarch_torch INTERFACE CUDA::cudart)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # of our kernels, too: one runtime in a process
endif()
message(STATUS "LibTorch ${MONARCH_TORCH_VERSION}: ${_torch_found}")
