# Installs the operator library, which needs no Torch: cmake --install <build> --component attention. For its users:
#   CMake        find_package(monarch), target monarch::attention
#   pkg-config   monarch
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(_libraries monarch_base monarch_attention)
set_target_properties(monarch_base PROPERTIES EXPORT_NAME base)
set_target_properties(monarch_attention PROPERTIES EXPORT_NAME attention)
set_target_properties(${_libraries} PROPERTIES VERSION ${PROJECT_VERSION} INSTALL_RPATH "$ORIGIN"
                      SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
set(_package "${CMAKE_INSTALL_LIBDIR}/cmake/monarch")
install(TARGETS ${_libraries} EXPORT monarch COMPONENT attention FILE_SET HEADERS)
install(EXPORT monarch NAMESPACE monarch:: FILE monarchTargets.cmake DESTINATION "${_package}" COMPONENT attention)

# What a C program adds to link static C++ libraries: the C++ compiler's own libraries that the C compiler has not.
set(MONARCH_CXX_RUNTIME "")
if(NOT BUILD_SHARED_LIBS)
  set(MONARCH_CXX_RUNTIME ${CMAKE_CXX_IMPLICIT_LINK_LIBRARIES})
  list(REMOVE_ITEM MONARCH_CXX_RUNTIME ${CMAKE_C_IMPLICIT_LINK_LIBRARIES})
  list(REMOVE_DUPLICATES MONARCH_CXX_RUNTIME)
endif()
configure_package_config_file(cmake/monarchConfig.cmake.in monarchConfig.cmake INSTALL_DESTINATION "${_package}")
write_basic_package_version_file(monarchConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/monarchConfig.cmake" "${PROJECT_BINARY_DIR}/monarchConfigVersion.cmake"
        DESTINATION "${_package}" COMPONENT attention)

# Paths relative to the file itself: an installation may be moved.
file(RELATIVE_PATH MONARCH_PC_PREFIX "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
list(TRANSFORM MONARCH_CXX_RUNTIME PREPEND "-l" OUTPUT_VARIABLE MONARCH_PC_LIBRARIES)
list(PREPEND MONARCH_PC_LIBRARIES -lmonarch_attention -lmonarch_base)
list(APPEND MONARCH_PC_LIBRARIES ${CMAKE_THREAD_LIBS_INIT})
list(JOIN MONARCH_PC_LIBRARIES " " MONARCH_PC_LIBRARIES)
configure_file(cmake/monarch.pc.in monarch.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/monarch.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT attention)
